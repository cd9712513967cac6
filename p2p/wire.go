package p2p

import (
	"net"
	"syscall"

	"redflag/ratelimit"
)

const (
	// tlsHeader is what stands before a TLS record, in bytes: type, version
	// (2), length (2); RFC 8446, section 5.1.
	tlsHeader = 5
	// tlsHandshake is the type of the first record of every session.
	tlsHandshake = 22
	// worthWaiting is how many bytes must be missing for a wait in the kernel:
	// to begin and to end one costs as much as to be woken twice.
	worthWaiting = 4 << 10
)

// Wire makes the connection that a swarm wants under its TLS: one that can be
// counted and capped, and whose reader sleeps until a TLS record is whole.
func Wire(c net.Conn) *ratelimit.Conn {
	if s, ok := c.(syscall.Conn); ok {
		c = &wholeConn{Conn: c, socket: s, wakeAt: 1}
	}
	return ratelimit.NewConn(c)
}

// wholeConn is a connection whose reader wants whole records. Nobody can do
// anything with a part of one, and over a thin link a record of 16 KiB comes as
// a dozen packets, far enough apart to wake the process for each.
type wholeConn struct {
	net.Conn
	socket  syscall.Conn
	records tlsRecords // of the reader, as is wakeAt
	wakeAt  int        // bytes that wake it
}

// SyscallConn implements syscall.Conn.
func (c *wholeConn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// Read implements net.Conn.
func (c *wholeConn) Read(p []byte) (int, error) {
	want := min(c.records.left, len(p))
	if want < worthWaiting {
		want = 1
	}
	if want != c.wakeAt {
		c.wakeAt = want
		wakeReader(c.socket, want)
	}
	n, err := c.Conn.Read(p)
	c.records.saw(p[:n])
	return n, err
}

// tlsRecords follows the TLS records of a stream, and leaves one alone that does
// not begin as TLS does.
type tlsRecords struct {
	header [tlsHeader]byte
	have   int // bytes of the header
	left   int // bytes of the body that are still to come, 0..65535
	begun  bool
	other  bool // not TLS
}

// saw takes in what was read.
func (r *tlsRecords) saw(p []byte) {
	for len(p) > 0 && !r.other {
		if r.left > 0 {
			n := min(r.left, len(p))
			r.left -= n
			p = p[n:]
			continue
		}
		n := copy(r.header[r.have:], p)
		r.have += n
		p = p[n:]
		if r.have < tlsHeader {
			return
		}
		if !r.begun && r.header[0] != tlsHandshake {
			r.other = true
			return
		}
		r.begun = true
		r.have, r.left = 0, int(r.header[3])<<8|int(r.header[4])
	}
}
