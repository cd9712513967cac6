package agent

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ackTimeout is how long a node may leave sent bytes unacknowledged. A node
// that was cut off is found out by it long before the request times out, while
// one that takes its time to commit acknowledges at once (RFC 5482).
const ackTimeout = 5 * time.Second

// watchful makes the kernel give a connection up after ackTimeout.
func watchful(_, _ string, c syscall.RawConn) error {
	var err error
	if ctl := c.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(ackTimeout.Milliseconds()))
	}); ctl != nil {
		return ctl
	}
	return err
}
