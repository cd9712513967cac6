//go:build !windows

package node

import (
	"math"

	"golang.org/x/sys/unix"
)

// openFiles is how many files and connections this process may have open. Go
// has raised that to what the system allows.
func openFiles() int64 {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return math.MaxInt64
	}
	return int64(min(limit.Cur, math.MaxInt64))
}
