package gossip

import (
	"encoding/binary"
	"net"
	"time"
)

const (
	// queueLength is how many packets wait for one peer.
	queueLength = 64
	dialTimeout = 5 * time.Second
	// writeTimeout is how long the kernel may refuse a packet.
	writeTimeout = 5 * time.Second
	// flushTimeout is how long Shutdown waits for what is queued.
	flushTimeout = time.Second
	// idleTimeout is how long a stream stays without a packet. In a cluster of
	// up to thirty nodes each pair talks more often than that.
	idleTimeout = 2 * time.Minute
	// A peer that cannot be reached is dialled again after minBackoff, doubling
	// to maxBackoff.
	minBackoff = 100 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// peer sends packets to one address over a stream of its own. All fields but
// the channels belong to run's goroutine.
type peer struct {
	addr  string
	queue chan []byte   // frames
	fresh chan struct{} // asks for a new stream

	conn    net.Conn      // nil without a stream
	broken  chan struct{} // closed when the other end hangs up
	backoff time.Duration // zero while all is well
	retryAt time.Time
}

// send queues a packet for addr, or drops it.
func (t *transport) send(addr string, b []byte) {
	if len(b) > maxPacket {
		t.log.Warn("gossip packet is too large", "bytes", len(b))
		return
	}
	frame := make([]byte, 2, 2+len(b))
	binary.BigEndian.PutUint16(frame, uint16(len(b)))
	frame = append(frame, b...) // memberlist keeps b

	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.peers[addr]
	if p == nil {
		if t.ctx.Err() != nil || len(t.peers) >= maxPeers {
			return
		}
		p = &peer{addr: addr, queue: make(chan []byte, queueLength), fresh: make(chan struct{}, 1)}
		t.peers[addr] = p
		t.wg.Go(func() { t.run(p) })
	}
	select {
	case p.queue <- frame:
	default:
	}
}

// renew makes the peer at addr, if there is one, start a new stream.
func (t *transport) renew(addr string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.peers[addr]; p != nil {
		select {
		case p.fresh <- struct{}{}:
		default:
		}
	}
}

// retire ends a peer unless a packet has come meanwhile.
func (t *transport) retire(p *peer) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(p.queue) > 0 {
		return false
	}
	delete(t.peers, p.addr)
	return true
}

func (t *transport) run(p *peer) {
	defer p.hangUp()
	idle := time.NewTimer(idleTimeout)
	defer idle.Stop()
	for {
		select {
		case frame := <-p.queue:
			t.write(p, frame)
			idle.Reset(idleTimeout)
		case <-p.broken:
			p.hangUp()
		case <-p.fresh:
			p.hangUp()
			p.backoff, p.retryAt = 0, time.Time{}
		case <-idle.C:
			if t.retire(p) {
				return
			}
		case <-t.ctx.Done():
			p.flush()
			return
		}
	}
}

// write sends one frame, over a new stream if need be. While the peer is
// backed off the frame is dropped: memberlist repeats what matters.
func (t *transport) write(p *peer, frame []byte) {
	if p.conn == nil {
		if time.Now().Before(p.retryAt) {
			return
		}
		conn, err := t.dial(p.addr, kindPackets, dialTimeout)
		if err != nil {
			t.log.Debug("gossip dial failed", "addr", p.addr, "error", err)
			p.backOff()
			return
		}
		p.conn, p.broken = conn, make(chan struct{})
		t.wg.Go(watch(conn, p.broken))
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := p.conn.Write(frame); err != nil {
		t.log.Debug("gossip write failed", "addr", p.addr, "error", err)
		p.hangUp()
		p.backOff()
		return
	}
	p.backoff = 0
}

// watch notices at once when the other end hangs up, so that no packet is
// written into a closed stream. Nothing ever comes back on one.
func watch(conn net.Conn, broken chan<- struct{}) func() {
	return func() {
		var b [1]byte
		_, _ = conn.Read(b[:])
		close(broken)
	}
}

func (p *peer) backOff() {
	p.backoff = min(max(2*p.backoff, minBackoff), maxBackoff)
	p.retryAt = time.Now().Add(p.backoff)
}

// flush sends what is queued if there is a stream to send it by.
func (p *peer) flush() {
	if p.conn == nil {
		return
	}
	_ = p.conn.SetWriteDeadline(time.Now().Add(flushTimeout))
	for {
		select {
		case frame := <-p.queue:
			if _, err := p.conn.Write(frame); err != nil {
				return
			}
		default:
			return
		}
	}
}

func (p *peer) hangUp() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
	p.conn, p.broken = nil, nil
}
