package ratelimit

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"redflag/api"
)

const (
	// windowTime is how much of a capped connection a kernel may take in ahead
	// of the reader, beside what is on the way for a round trip. It frees what
	// was read a buffer at a time: with buffers of its own choice a narrow cap
	// comes in steps of seconds.
	windowTime = 60 * time.Millisecond
	minWindow  = 8 << 10
	// maxWindow is what every kernel grants. A cap that needs more leaves the
	// choice to the kernel, which may go further by itself, from firstWindow on.
	maxWindow   = 208 << 10
	firstWindow = 64 << 10
)

// setWindow fits the kernel's buffer of what comes in to a cap. Failure is
// harmless: the cap then holds over a longer time.
func setWindow(c net.Conn, limit api.Rate) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if size := windowFor(limit, roundTrip(int(fd))); limit != api.Unlimited && size < maxWindow {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, size)
			return
		}
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, firstWindow)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BUF_LOCK, 0)
	})
}

func windowFor(limit api.Rate, roundTrip time.Duration) int {
	return max(minWindow, int(limit.BytesPerSecond()*(windowTime+2*roundTrip).Seconds()))
}

func roundTrip(fd int) time.Duration {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return time.Duration(info.Rtt) * time.Microsecond
}
