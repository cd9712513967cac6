//go:build unix

package agent

import (
	"fmt"
	"os"
	"syscall"
)

// replaceProcess runs path in place of this process, with the same arguments.
func replaceProcess(path string) error {
	if err := syscall.Exec(path, os.Args, os.Environ()); err != nil { //nolint:gosec // a binary that was verified when it was installed
		return fmt.Errorf("start %s: %w", path, err)
	}
	return nil
}
