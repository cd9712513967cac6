//go:build unix

package system

import (
	"os"

	"golang.org/x/sys/unix"
)

// lockHeld reports whether another process holds a lock on the file that keeps
// writers out, and whether that could be asked.
func lockHeld(path string) (held, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return false, false
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil {
		return false, false
	}
	return l.Type != unix.F_UNLCK, true
}
