//go:build unix

package install

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

// openFIFO opens the writing end if somebody reads, and does not wait: the
// error is ENXIO then.
func openFIFO(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
}

var errNoReader error = syscall.ENXIO
