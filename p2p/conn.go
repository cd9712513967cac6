package p2p

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"redflag/ratelimit"
)

// handshakeTimeout bounds the TLS handshake and the identification of a peer.
const handshakeTimeout = 10 * time.Second

// greetingSize is the size of a BitTorrent handshake; its last 20 bytes are
// the peer id.
const greetingSize = 68

// hashAt is where in a handshake the info hash begins.
const hashAt = 28

// secureConn is what a listener yields and a dialer returns: *tls.Conn.
type secureConn interface {
	net.Conn
	HandshakeContext(ctx context.Context) error
	NetConn() net.Conn
}

// conn is a connection whose other end is known. The library sees the made-up
// address of that identity.
type conn struct {
	net.Conn
	wire          *ratelimit.Conn
	peer          Peer
	local, remote address

	// The reader's.
	greeting []byte // what was read of the handshake; nil once it was checked
	share    *share // of the payload that the handshake named
	inbox    inbox
	passed   []byte // what came through the inbox last, and what of that is unread
	ready    []byte
	heard    int64 // what written was when inbox.asked was set to 0 last

	writing sync.Mutex
	opening int          // bytes of the own handshake that are still to be written
	haves   []byte       // have messages that wait, see holdHaves; needs writing
	written atomic.Int64 // writes that have ended

	swarm     *Swarm
	offering  atomic.Pointer[offering] // nil without a plan
	closed    chan struct{}
	closeOnce sync.Once
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// Read implements net.Conn. It ends the connection of a peer that greets under
// another peer id than the one that follows from its certificate.
func (c *conn) Read(p []byte) (int, error) {
	for {
		if len(c.ready) > 0 {
			n := copy(p, c.ready)
			c.ready = c.ready[n:]
			return n, nil
		}
		n, err := c.Conn.Read(p)
		greeting := 0
		if c.greeting != nil {
			greeting = min(n, greetingSize-len(c.greeting))
			c.greeting = append(c.greeting, p[:greeting]...)
			if len(c.greeting) < greetingSize {
				return n, err
			}
			if err := c.greeted(); err != nil {
				return 0, err
			}
		}
		c.passed = c.inbox.pass(append(c.passed[:0], p[:greeting]...), p[greeting:n], c.busy)
		c.ready = c.passed
		if err := c.heeded(); err != nil {
			return 0, err
		}
		if err != nil {
			n = copy(p, c.ready)
			c.ready = nil
			return n, err
		}
	}
}

// greeted checks the whole handshake of the other end.
func (c *conn) greeted() error {
	want := clientID(c.peer.ID)
	if !bytes.Equal(c.greeting[greetingSize-len(want):greetingSize], want[:]) {
		return fmt.Errorf("read greeting of %s: %w", c.peer.ID, errWrongID)
	}
	hash := metainfo.Hash(c.greeting[hashAt : hashAt+len(metainfo.Hash{})])
	if !c.swarm.serves(c.peer, hash) {
		return fmt.Errorf("read greeting of %s: %w", c.peer.ID, errNotServed)
	}
	if p := c.swarm.planFor(c.peer, hash); p != nil {
		c.offering.Store(newOffering(c.swarm, c, p))
	}
	c.share = c.swarm.share(hash)
	c.greeting = nil
	return nil
}

// mostAsked is how many requests a peer may send while it takes nothing: the
// library (v1.61.0) has an answer to each ready, without a bound. Of peers of ours at
// most a thousand are outstanding, and cancelled ones count until they are answered.
const mostAsked = 1 << 14

// heeded returns an error if a peer asks and asks and does not read the answers.
func (c *conn) heeded() error {
	if n := c.written.Load(); n != c.heard {
		c.heard, c.inbox.asked = n, 0
	}
	if c.inbox.asked > mostAsked {
		return fmt.Errorf("read from %s: %w", c.peer.ID, errDeaf)
	}
	return nil
}

// busy reports whether requests to the peer are outstanding that it had better
// serve first.
func (c *conn) busy() bool {
	return c.share != nil && c.share.stalls.busy(c.remote.String())
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	skip := min(c.opening, len(p))
	c.opening -= skip
	if o := c.offering.Load(); o != nil && !o.claimed {
		p = o.disclaim(p, skip)
	}
	if c.opening == 0 && skip == 0 && c.holdHaves(p) {
		return len(p), nil
	}
	held := len(c.haves)
	if held > 0 {
		p = append(c.haves, p...)
		c.haves = nil
	}
	n, err := c.Conn.Write(p)
	c.written.Add(1)
	return max(0, n-held), err
}

// Close closes the wire at once. A TLS farewell would wait for the bucket, and
// no peer needs one.
func (c *conn) Close() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return c.wire.Close()
}

// admit completes the handshake of a connection, finds out who is at the other
// end and puts it under the caps. It closes a connection that it refuses.
func (s *Swarm) admit(ctx context.Context, nc net.Conn) (*conn, error) {
	c, err := s.identify(ctx, nc)
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	if c.peer.Near {
		c.wire.Limit(buckets(s.cfg.SiteDownload), buckets(s.cfg.SiteUpload))
	} else {
		c.wire.Limit(buckets(s.cfg.Download), buckets(s.cfg.Upload))
	}
	return c, nil
}

func (s *Swarm) identify(ctx context.Context, nc net.Conn) (*conn, error) {
	secure, ok := nc.(secureConn)
	if !ok {
		return nil, errNotPeer
	}
	wire, ok := secure.NetConn().(*ratelimit.Conn)
	if !ok {
		return nil, errNotPeer
	}
	keepShort(wire.Conn)
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	peer, err := s.cfg.Identify(nc)
	if err != nil {
		return nil, fmt.Errorf("identify peer: %w", err)
	}
	if peer.ID == s.cfg.Self.ID {
		return nil, errSelf
	}
	near, known := s.book.near(peer.ID)
	if !known {
		near = sameSite(nc.LocalAddr(), nc.RemoteAddr())
	}
	peer.Near = near && !s.cfg.Self.Node && !peer.Node
	if !s.book.met(peer) {
		return nil, fmt.Errorf("%s: %w", peer.ID, errRefused)
	}
	return &conn{
		Conn:     nc,
		wire:     wire,
		peer:     peer,
		local:    addressOf(s.cfg.Self.ID),
		remote:   addressOf(peer.ID),
		greeting: make([]byte, 0, greetingSize),
		opening:  greetingSize,
		swarm:    s,
		closed:   make(chan struct{}),
	}, nil
}

func buckets(b *ratelimit.Bucket) []*ratelimit.Bucket {
	if b == nil {
		return nil
	}
	return []*ratelimit.Bucket{b}
}
