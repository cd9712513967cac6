package pki

import (
	"net"
	"sync"
	"time"
)

// flightPatience is how long the end of a handshake waits for a request to
// travel with.
const flightPatience = 5 * time.Millisecond

// flight is the connection under a TLS client that sends the end of its
// handshake along with its first request. In TLS 1.3 the last flight of a
// handshake is the client's (RFC 8446, section 2), and a node can do nothing with
// it alone: apart, it costs a packet on a thin link, and the node one more time
// to be woken for each poll.
type flight struct {
	net.Conn
	sent chan struct{} // closed once nothing will be held any more

	mu    sync.Mutex
	held  []byte // written, and not sent yet
	ended bool   // the handshake is over: what comes next is a request
}

func newFlight(c net.Conn) *flight { return &flight{Conn: c, sent: make(chan struct{})} }

// handshaken says that all that is written from now on is the caller's.
func (f *flight) handshaken() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
}

// Write implements net.Conn.
func (f *flight) Write(p []byte) (int, error) {
	if f.idle(0) {
		return f.Conn.Write(p)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.held)
	f.held = append(f.held, p...)
	if !f.ended {
		return len(p), nil
	}
	n, err := f.flush()
	return max(0, n-before), err
}

// Read implements net.Conn. Who reads has nothing to add: at once in a
// handshake, and after it unless another goroutine is about to write.
func (f *flight) Read(p []byte) (int, error) {
	if !f.idle(0) {
		f.mu.Lock()
		ended := f.ended
		f.mu.Unlock()
		if !ended || !f.idle(flightPatience) {
			f.mu.Lock()
			_, err := f.flush()
			f.mu.Unlock()
			if err != nil {
				return 0, err
			}
		}
	}
	return f.Conn.Read(p)
}

// idle reports whether nothing will be held any more, within a time.
func (f *flight) idle(within time.Duration) bool {
	select {
	case <-f.sent:
		return true
	default:
	}
	if within == 0 {
		return false
	}
	select {
	case <-f.sent:
		return true
	case <-time.After(within):
		return false
	}
}

// flush sends what is held. Its caller holds mu.
func (f *flight) flush() (n int, err error) {
	if len(f.held) > 0 {
		n, err = f.Conn.Write(f.held)
		f.held = f.held[:0]
	}
	if f.ended && !f.idle(0) {
		f.held = nil
		close(f.sent)
	}
	return n, err
}
