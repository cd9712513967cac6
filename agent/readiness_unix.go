//go:build unix

package agent

import (
	"golang.org/x/sys/unix"
)

// diskSpace returns the bytes that the agent may still write, and all of them.
func diskSpace(dir string) (free, total int64, ok bool) {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return 0, 0, false
	}
	return int64(s.Bavail) * int64(s.Bsize), int64(s.Blocks) * int64(s.Bsize), true //nolint:unconvert // the types differ by system
}
