package p2p

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// unsent is how many bytes the kernel may hold of one connection that are not
// on the wire yet. Requests and have messages go through the same stream as
// payload: behind megabytes of it they would come seconds late.
const unsent = 16 << 10

// keepShort bounds what waits in the kernel. A kernel that cannot is slower,
// and no less right.
func keepShort(c net.Conn) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, unsent)
	})
}
