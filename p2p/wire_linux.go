package p2p

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// wakeReader has the kernel wake the reader of a socket once n bytes are there
// or no more can come (socket(7), SO_RCVLOWAT). A kernel that cannot wakes it
// more often.
func wakeReader(c syscall.Conn, n int) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, n)
	})
}
