package node

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"redflag/api"
	"redflag/trust/pki"
)

// liveConns knows the open connections of the mesh and whose they are: a
// handshake is not made again while a connection lives, so that those of a
// member that is put out have to be cut.
type liveConns struct {
	mu   sync.Mutex
	open map[*liveConn]string // key id; empty until the handshake is over
}

// liveConn takes itself off the list when it is closed.
type liveConn struct {
	net.Conn
	of *liveConns

	last atomic.Bool
	held []byte // an answer; only writes touch it, and TLS makes one at a time
}

func (l *liveConns) track(raw net.Conn) *liveConn {
	c := &liveConn{Conn: raw, of: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		l.open = map[*liveConn]string{}
	}
	l.open[c] = ""
	return c
}

// belongsTo notes who is at the other end.
func (c *liveConn) belongsTo(conn *tls.Conn) {
	keyID := keyIDOf(conn)
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	if _, open := c.of.open[c]; open {
		c.of.open[c] = keyID
	}
}

// SyscallConn implements syscall.Conn: caps and the swarm fit the kernel's
// buffers to what they need.
func (c *liveConn) SyscallConn() (syscall.RawConn, error) {
	s, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return s.SyscallConn()
}

// lastAnswer says that the connection is closed after the answer that comes
// next: it then goes out together with the alert that ends a TLS session.
func (c *liveConn) lastAnswer() { c.last.Store(true) }

// Write implements net.Conn.
func (c *liveConn) Write(p []byte) (int, error) {
	if !c.last.Load() {
		return c.Conn.Write(p)
	}
	if c.held == nil {
		c.held = slices.Clone(p)
		return len(p), nil
	}
	held := c.held
	c.last.Store(false)
	c.held = nil
	n, err := c.Conn.Write(append(held, p...))
	return max(0, n-len(held)), err
}

// Close implements net.Conn.
func (c *liveConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}

// cut closes the connections of members that revoked names, and returns how
// many there were.
func (l *liveConns) cut(revoked func(keyID string) bool) int {
	l.mu.Lock()
	byKey := map[string][]*liveConn{}
	for c, keyID := range l.open {
		if keyID != "" {
			byKey[keyID] = append(byKey[keyID], c)
		}
	}
	l.mu.Unlock()
	n := 0
	for keyID, conns := range byKey {
		if !revoked(keyID) {
			continue
		}
		for _, c := range conns {
			_ = c.Close()
			n++
		}
	}
	return n
}

// enrolmentPatience is how long a node that is not known here may take to
// arrive from the leader.
const enrolmentPatience = 3 * time.Second

// enrolledNode refuses a node whose certificate is for another key than the one
// that enrolled, and one that nobody knows. Only a node that is behind itself,
// as one that has just joined, has to hear a stranger: it may be the leader.
func (n *Node) enrolledNode(ctx context.Context, id pki.Identity, keyID string) error {
	ctx, cancel := context.WithTimeout(ctx, enrolmentPatience)
	defer cancel()
	for {
		known, ok := n.state().Node(id.ID)
		switch {
		case ok && known.KeyID == keyID:
			return nil
		case ok:
			return api.Errorf(api.CodeDenied, "node %s is enrolled with another key", id.ID)
		case n.cluster.Stale() > maxStale:
			return nil
		}
		select {
		case <-ctx.Done():
			return api.Errorf(api.CodeDenied, "node %s is not enrolled", id.ID)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
