package gossip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// The first byte on a stream says what follows.
const (
	// kindPackets: packets in one direction, each behind its length in two
	// bytes, big-endian.
	kindPackets byte = 'P'
	// kindStream: one exchange of memberlist's own.
	kindStream byte = 'S'
)

const (
	// maxPacket is what two bytes of length can say; memberlist sends 1400.
	maxPacket = 1<<16 - 1
	// maxConns bounds the streams that others have open here, and maxPeers
	// those that packets leave by.
	maxConns = 1024
	maxPeers = 1024
	// kindTimeout is how long the first byte may take.
	kindTimeout = 10 * time.Second
)

// transport carries memberlist over authenticated streams. Packets are as
// unreliable as memberlist expects them to be: what cannot be sent soon is
// dropped.
type transport struct {
	ctx      context.Context // ends with Shutdown
	cancel   context.CancelFunc
	self     netip.AddrPort
	listener net.Listener
	dialConn func(ctx context.Context, addr string) (net.Conn, error)
	route    func(memberlist.Address) string
	log      hclog.Logger
	packets  chan *memberlist.Packet
	streams  chan net.Conn
	wg       sync.WaitGroup

	mu    sync.Mutex
	peers map[string]*peer      // by address
	conns map[net.Conn]struct{} // inbound, not yet memberlist's
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(cfg Config, self netip.AddrPort, route func(memberlist.Address) string) *transport {
	ctx, cancel := context.WithCancel(context.Background())
	t := &transport{
		ctx: ctx, cancel: cancel,
		self: self, listener: cfg.Listener, dialConn: cfg.Dial, route: route, log: cfg.Logger,
		packets: make(chan *memberlist.Packet),
		streams: make(chan net.Conn),
		peers:   map[string]*peer{},
		conns:   map[net.Conn]struct{}{},
	}
	t.wg.Go(t.accept)
	return t
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.self.Addr().AsSlice(), int(t.self.Port()), nil
}

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport. It never blocks and
// never fails: an error that is no net.OpError would end a probe without a
// verdict, so that a dead node stayed alive.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	t.send(t.route(a), b)
	return time.Now(), nil
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
//
// memberlist opens a stream when packets went unanswered, and now and then to
// compare notes. Once it stands, the packets get a new stream too: the old one
// may hang in the kernel's retransmission for minutes after a cut has healed.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	addr := t.route(a)
	conn, err := t.dial(addr, kindStream, timeout)
	if err != nil {
		return nil, err
	}
	t.renew(addr)
	return conn, nil
}

func (t *transport) dial(addr string, kind byte, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timeout)
	defer cancel()
	conn, err := t.dialConn(ctx, addr)
	if err != nil {
		return nil, err
	}
	_ = conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := conn.Write([]byte{kind}); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("open gossip stream: %w", err)
	}
	_ = conn.SetWriteDeadline(time.Time{})
	return conn, nil
}

// Shutdown implements memberlist.Transport. What waits for a peer with a
// stream is still sent, briefly: it may be the news that this node leaves.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	t.cancel()
	for conn := range t.conns {
		_ = conn.Close()
	}
	t.mu.Unlock()
	err := t.listener.Close()
	t.wg.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

func (t *transport) accept() {
	for {
		conn, err := t.listener.Accept()
		if err == nil {
			t.admit(conn)
			continue
		}
		if t.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		t.log.Warn("gossip accept failed", "error", err)
		select {
		case <-t.ctx.Done():
		case <-time.After(100 * time.Millisecond): // out of descriptors, most likely
		}
	}
}

func (t *transport) admit(conn net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil || len(t.conns) >= maxConns {
		_ = conn.Close()
		return
	}
	t.conns[conn] = struct{}{}
	t.wg.Go(func() {
		handed := t.serve(conn)
		t.mu.Lock()
		delete(t.conns, conn)
		t.mu.Unlock()
		if !handed {
			_ = conn.Close()
		}
	})
}

// serve reports whether memberlist owns the connection now.
func (t *transport) serve(conn net.Conn) (handed bool) {
	_ = conn.SetReadDeadline(time.Now().Add(kindTimeout))
	var kind [1]byte
	if _, err := io.ReadFull(conn, kind[:]); err != nil {
		return false
	}
	switch kind[0] {
	case kindPackets:
		t.receive(conn)
	case kindStream:
		_ = conn.SetReadDeadline(time.Time{})
		select {
		case t.streams <- conn:
			return true
		case <-t.ctx.Done():
		}
	default:
		t.log.Warn("gossip stream of unknown kind", "remote", conn.RemoteAddr().String(), "kind", kind[0])
	}
	return false
}

// receive hands over packets until the stream ends. It waits for memberlist,
// and so makes the sender drop when this node is overloaded.
func (t *transport) receive(conn net.Conn) {
	for {
		// The sender hangs up first.
		_ = conn.SetReadDeadline(time.Now().Add(2 * idleTimeout))
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		buf := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, buf); err != nil {
			return
		}
		select {
		case t.packets <- &memberlist.Packet{Buf: buf, From: conn.RemoteAddr(), Timestamp: time.Now()}:
		case <-t.ctx.Done():
			return
		}
	}
}
