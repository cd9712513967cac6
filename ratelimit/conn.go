package ratelimit

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"redflag/api"
)

// Conn counts what it carries in bytes and holds it under the buckets of
// Limit, which are charged with what the bytes take on the wire: headers of
// segments too, and acknowledgements in the other direction. Like every
// net.Conn it is safe for one reader, one writer and any number of callers of
// Close and the deadlines at the same time.
type Conn struct {
	net.Conn

	read, written   atomic.Int64
	readBy, writeBy atomic.Pointer[[]*Bucket]

	closed       chan struct{}
	closeOnce    sync.Once
	readTimeout  *deadline
	writeTimeout *deadline

	readMu sync.Mutex
	owed   float64  // wire bytes that were read and not charged yet; needs readMu
	window api.Rate // the cap that the kernel's buffer is made for; needs readMu
}

// NewConn wraps c. It is unlimited until Limit is called.
func NewConn(c net.Conn) *Conn {
	return &Conn{
		Conn:         c,
		closed:       make(chan struct{}),
		readTimeout:  newDeadline(),
		writeTimeout: newDeadline(),
	}
}

// Limit charges all that is read and written from now on to every bucket of
// the chain: all must admit a byte before it passes. It replaces the chains of
// an earlier call and may be called at any time.
func (c *Conn) Limit(read, write []*Bucket) {
	c.readBy.Store(&read)
	c.writeBy.Store(&write)
}

// Bytes returns what has passed so far, in bytes.
func (c *Conn) Bytes() (read, written int64) { return c.read.Load(), c.written.Load() }

// Read implements net.Conn. What one call read is paid for by the next one:
// only then is its size known, and a deadline that passes meanwhile loses no
// data.
func (c *Conn) Read(p []byte) (int, error) {
	c.readMu.Lock()
	defer c.readMu.Unlock()
	chain := load(&c.readBy)
	due := int(c.owed)
	if err := c.wait(chain, due, c.readTimeout, "read"); err != nil {
		return 0, err
	}
	c.owed -= float64(due)
	if r := narrowest(chain); r != c.window {
		c.window = r
		setWindow(c.Conn, r)
	}
	if size := quantum(chain); len(p) > size {
		p = p[:size]
	}
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	if len(chain) > 0 {
		// Reads do not end where segments do.
		c.owed += float64(n) * (segmentPayload + segmentHeaders) / segmentPayload
	}
	for _, b := range load(&c.writeBy) {
		b.owe(acksFor(n))
	}
	return n, err
}

// Write implements net.Conn. It waits before each part that it writes.
func (c *Conn) Write(p []byte) (int, error) {
	done := 0
	for {
		chain := load(&c.writeBy)
		part := p[done:]
		if size := quantum(chain); len(part) > size {
			part = part[:size]
		}
		if err := c.wait(chain, onWire(len(part)), c.writeTimeout, "write"); err != nil {
			return done, err
		}
		n, err := c.Conn.Write(part)
		c.written.Add(int64(n))
		for _, b := range load(&c.readBy) {
			b.owe(acksFor(n))
		}
		done += n
		if err != nil || done == len(p) {
			return done, err
		}
	}
}

// wait blocks until every bucket of the chain admits n bytes, the connection
// is closed or the deadline passes.
func (c *Conn) wait(chain []*Bucket, n int, timeout *deadline, op string) error {
	for _, b := range chain {
		if b.wait(n, c.closed, timeout.wait()) {
			continue
		}
		cause := os.ErrDeadlineExceeded
		select {
		case <-c.closed:
			cause = net.ErrClosed
		default:
		}
		return &net.OpError{Op: op, Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: cause}
	}
	return nil
}

// Close closes the connection and ends whoever waits for a bucket.
func (c *Conn) Close() error {
	c.closeOnce.Do(func() {
		close(c.closed)
		c.readTimeout.set(time.Time{})
		c.writeTimeout.set(time.Time{})
	})
	return c.Conn.Close()
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.readTimeout.set(t)
	c.writeTimeout.set(t)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readTimeout.set(t)
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeTimeout.set(t)
	return c.Conn.SetWriteDeadline(t)
}

func load(p *atomic.Pointer[[]*Bucket]) []*Bucket {
	if chain := p.Load(); chain != nil {
		return *chain
	}
	return nil
}

// quantum is how many bytes may be asked of the chain at once: what the
// narrowest bucket likes, and no bound for a chain without caps.
func quantum(chain []*Bucket) int {
	size := int(^uint(0) >> 1)
	for _, b := range chain {
		if !b.unlimited() {
			size = min(size, b.quantum())
		}
	}
	return size
}

// narrowest returns the lowest cap of a chain.
func narrowest(chain []*Bucket) (r api.Rate) {
	for _, b := range chain {
		r = r.Lower(b.Rate())
	}
	return r
}
