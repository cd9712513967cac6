package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/time/rate"

	"redflag/p2p"
	"redflag/trust/pki"
)

const (
	handshakeTimeout = 10 * time.Second
	// Handshakes cost CPU that a stranger can make us spend: a full one is
	// about half a millisecond. Beyond this rate, or that of the polls if that is
	// set higher, connections are closed unread.
	handshakesPerSecond = 1000
	handshakeBurst      = 2000
	// idleHandshaker is how long who made a handshake waits for the next one.
	idleHandshaker = 5 * time.Second
)

// mesh is the one port that nodes and agents reach. ALPN tells its protocols
// apart; each gets a listener of its own.
type mesh struct {
	ln        net.Listener
	creds     *pki.Credentials
	log       hclog.Logger
	limiter   *rate.Limiter
	protocols map[string]*protoListener
	live      liveConns
	accepted  chan net.Conn // to who is free
	wg        sync.WaitGroup

	// enrolled says whether a member is enrolled with the key of its
	// certificate. It is set once the replicated state can be read.
	enrolled func(ctx context.Context, id pki.Identity, keyID string) error
	ready    chan struct{} // closed once enrolled is set
}

func newMesh(ln net.Listener, creds *pki.Credentials, log hclog.Logger) *mesh {
	m := &mesh{
		ln: ln, creds: creds, log: log,
		limiter:   rate.NewLimiter(handshakesPerSecond, handshakeBurst),
		protocols: map[string]*protoListener{}, accepted: make(chan net.Conn), ready: make(chan struct{}),
	}
	for _, p := range []string{pki.ALPNHTTP, pki.ALPNRaft, pki.ALPNGossip, pki.ALPNSwarm} {
		m.protocols[p] = newProtoListener(ln.Addr())
	}
	return m
}

// expect lets in as many connections per second as there are to be polls: each
// may come over a connection of its own.
func (m *mesh) expect(polls int) {
	if limit := rate.Limit(max(handshakesPerSecond, polls)); limit != m.limiter.Limit() {
		m.limiter.SetLimit(limit)
	}
}

// listener returns the connections that speak proto.
func (m *mesh) listener(proto string) net.Listener { return m.protocols[proto] }

// run accepts until the listener is closed.
func (m *mesh) run(ctx context.Context) error {
	defer m.wg.Wait()
	defer func() {
		for _, p := range m.protocols {
			_ = p.Close()
		}
	}()
	stop := context.AfterFunc(ctx, func() { _ = m.ln.Close() })
	defer stop()
	conf := m.creds.ServerTLS(pki.ALPNHTTP, pki.ALPNRaft, pki.ALPNGossip, pki.ALPNSwarm)
	for {
		raw, err := m.ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			m.log.Warn("mesh accept failed", "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond): // out of descriptors, most likely
			}
			continue
		}
		if !m.limiter.Allow() {
			_ = raw.Close()
			continue
		}
		select {
		case m.accepted <- raw:
		default:
			m.wg.Go(func() { m.handshakes(ctx, raw, conf) })
		}
	}
}

// handshakes admits one connection after another: a handshake is deep, and a
// goroutine of its own would have to grow its stack for each.
func (m *mesh) handshakes(ctx context.Context, raw net.Conn, conf *tls.Config) {
	idle := time.NewTimer(idleHandshaker)
	defer idle.Stop()
	for {
		m.admit(ctx, raw, conf)
		idle.Reset(idleHandshaker)
		select {
		case raw = <-m.accepted:
		case <-idle.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (m *mesh) admit(ctx context.Context, raw net.Conn, conf *tls.Config) {
	tracked := m.live.track(raw)
	conn := tls.Server(p2p.Wire(tracked), conf)
	// A context that can end would cost a goroutine and a timer for each handshake.
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	stop := context.AfterFunc(ctx, func() { _ = tracked.Close() })
	err := conn.HandshakeContext(context.WithoutCancel(ctx))
	stop()
	if err != nil {
		m.log.Debug("mesh handshake refused", "remote", raw.RemoteAddr().String(), "error", err)
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	tracked.belongsTo(conn)
	proto := conn.ConnectionState().NegotiatedProtocol
	if err := m.mayspeak(ctx, conn, proto); err != nil {
		m.log.Warn("mesh connection refused", "remote", raw.RemoteAddr().String(), "protocol", proto, "error", err)
		_ = conn.Close()
		return
	}
	if proto == "" {
		proto = pki.ALPNHTTP
	}
	if tcp, ok := raw.(*net.TCPConn); ok && proto != pki.ALPNHTTP {
		// HTTP has timeouts of its own, and most of its connections end with one
		// poll: four system calls for each.
		_ = tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true})
	}
	m.protocols[proto].deliver(conn)
}

// mayspeak keeps agents off Raft and gossip, and strangers off all but HTTP,
// where the routes decide. A certificate of the cluster's CA alone does not make
// a node: who once stole the CA's key could sign one for itself.
func (m *mesh) mayspeak(ctx context.Context, conn *tls.Conn, proto string) error {
	if proto == pki.ALPNHTTP || proto == "" {
		return nil
	}
	id, err := pki.IdentityOf(conn.ConnectionState())
	if err != nil {
		return err
	}
	if proto == pki.ALPNSwarm {
		return nil
	}
	if id.Role != pki.RoleNode {
		return fmt.Errorf("%s %s may not speak %s", id.Role, id.ID, proto)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	select {
	case <-m.ready:
		return m.enrolled(ctx, id, keyIDOf(conn))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keyIDOf names the key at the other end; empty for a stranger.
func keyIDOf(conn *tls.Conn) string {
	certs := conn.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return ""
	}
	return pki.CertificateKeyID(certs[0])
}

// dial opens an authenticated connection to another node.
func (m *mesh) dial(ctx context.Context, addr, proto string) (*tls.Conn, error) {
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conf := m.creds.NodeClientTLS(proto)
	if proto == pki.ALPNSwarm {
		conf = m.creds.PeerClientTLS(proto)
	}
	tracked := m.live.track(raw)
	conn := tls.Client(p2p.Wire(tracked), conf)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = tracked.Close()
		return nil, fmt.Errorf("handshake with %s: %w", addr, err)
	}
	tracked.belongsTo(conn)
	return conn, nil
}

// dialRaft opens a connection for Raft to the node with this id and no other.
func (m *mesh) dialRaft(ctx context.Context, id, addr string) (net.Conn, error) {
	conn, err := m.dial(ctx, addr, pki.ALPNRaft)
	if err != nil {
		return nil, err
	}
	there, err := pki.IdentityOf(conn.ConnectionState())
	if err == nil && there.ID != id {
		err = fmt.Errorf("%s is node %s and not %s", addr, there.ID, id)
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

func (m *mesh) dialer(proto string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) { return m.dial(ctx, addr, proto) }
}

// protoListener is a net.Listener fed with connections of one protocol.
type protoListener struct {
	addr   net.Addr
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newProtoListener(addr net.Addr) *protoListener {
	return &protoListener{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *protoListener) deliver(c net.Conn) {
	select {
	case l.conns <- c:
	case <-l.closed:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (l *protoListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *protoListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *protoListener) Addr() net.Addr { return l.addr }
