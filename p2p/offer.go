package p2p

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"redflag/p2p/plan"
)

// offering is the node's side of a connection to an agent under a plan. The
// library has no notion of one: it says at once that it has everything. Here
// that becomes "nothing" on the way out, and the pieces that the plan offers
// are put between the library's messages.
type offering struct {
	c    *conn
	plan *plan.Offers

	claimed bool // the library has said what it has; needs conn.writing

	queueMu sync.Mutex // a leaf
	queue   []int
	wake    chan struct{}
}

// newOffering puts a connection under the plan until it is closed.
func newOffering(s *Swarm, c *conn, p *plan.Offers) *offering {
	o := &offering{c: c, plan: p, wake: make(chan struct{}, 1)}
	p.Join(c.peer.ID, o)
	s.work.Go(func() {
		defer p.Leave(c.peer.ID, o)
		o.run(s.ctx)
	})
	return o
}

// disclaim turns "have all" into "have none" in a copy of b, which begins with
// skip bytes of the handshake. The library writes whole messages. It needs
// conn.writing.
func (o *offering) disclaim(b []byte, skip int) []byte {
	for at := skip; at+5 <= len(b); {
		length := int(binary.BigEndian.Uint32(b[at:]))
		if length == 1 && pp.MessageType(b[at+4]) == pp.HaveAll {
			b = append([]byte(nil), b...)
			b[at+4] = byte(pp.HaveNone)
			o.claimed = true
			o.notify()
			return b
		}
		at += 4 + length
	}
	return b
}

// Offer implements plan.Taker.
func (o *offering) Offer(piece int) {
	o.queueMu.Lock()
	o.queue = append(o.queue, piece)
	o.queueMu.Unlock()
	o.notify()
}

func (o *offering) notify() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *offering) run(ctx context.Context) {
	for {
		select {
		case <-o.wake:
			if !o.flush() {
				return
			}
		case <-o.c.closed:
			return
		case <-ctx.Done():
			return
		}
	}
}

// flush writes the offers that wait, once the library's claim is out.
func (o *offering) flush() bool {
	o.c.writing.Lock()
	defer o.c.writing.Unlock()
	if !o.claimed {
		return true
	}
	o.queueMu.Lock()
	queue := o.queue
	o.queue = nil
	o.queueMu.Unlock()
	b := make([]byte, 0, haveSize*len(queue))
	for _, piece := range queue {
		b = appendHave(b, piece)
	}
	if len(b) == 0 {
		return true
	}
	_, err := o.c.Conn.Write(b)
	return err == nil
}

// planFor returns the plan that a connection for an info hash falls under; nil
// if there is none. Only a node that has the whole payload plans, and only for
// agents of its region: nodes fetch from it as they like.
func (s *Swarm) planFor(peer Peer, h metainfo.Hash) *plan.Offers {
	if !s.cfg.Self.Node || peer.Node || peer.Region != s.cfg.Self.Region {
		return nil
	}
	sh := s.share(h)
	if sh == nil || !sh.payload.isComplete() {
		return nil
	}
	return sh.planning()
}

// planning returns the share's plan.
func (sh *share) planning() *plan.Offers {
	sh.planMu.Lock()
	defer sh.planMu.Unlock()
	if sh.plan == nil {
		sh.plan = plan.NewOffers(sh.payload.pieces, min(sh.payload.pieceLength, sh.payload.length))
	}
	return sh.plan
}

// onMessage refuses what the library must not have, and passes on what agents
// have: on a node to the plan, on an agent to the asks, which weigh it against
// their own.
func (s *Swarm) onMessage(c *torrent.PeerConn, m *pp.Message) {
	if m.Keepalive { // its type says nothing
		return
	}
	sh := s.share(c.Torrent().InfoHash())
	if sh == nil {
		return
	}
	if !sh.manners.allow(c, m, sh.payload) {
		s.log.Debug("message refused", keyInfoHash, sh.hex, "peer", c.RemoteAddr.String(), "type", m.Type.String())
		m.Type = noSuchType
		return
	}
	if !tells(m.Type) {
		return
	}
	if !s.cfg.Self.Node {
		sh.asks.heard(c, m)
		return
	}
	peer, known := s.book.peer(c.RemoteAddr.String())
	if !known || peer.Node {
		return
	}
	sh.planMu.Lock()
	p := sh.plan
	sh.planMu.Unlock()
	if p != nil {
		heard(p, peer.ID, m)
	}
}

// tells reports whether messages of a type say what their sender has.
func tells(t pp.MessageType) bool {
	return t == pp.Have || t == pp.Bitfield || t == pp.HaveAll || t == pp.HaveNone
}

// heard passes on what an agent's message says that it has.
func heard(p *plan.Offers, id string, m *pp.Message) {
	switch m.Type {
	case pp.Have:
		p.Has(id, m.Index.Int())
	case pp.Bitfield:
		var pieces []int
		for i, has := range m.Bitfield {
			if has {
				pieces = append(pieces, i)
			}
		}
		p.Has(id, pieces...)
	case pp.HaveAll:
		p.HasAll(id)
	case pp.HaveNone:
		p.Has(id)
	default:
	}
}

// keepPlans looks after the plans until ctx ends.
func (s *Swarm) keepPlans(ctx context.Context) {
	ticker := time.NewTicker(plan.Tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			for _, sh := range s.all() {
				sh.planMu.Lock()
				p := sh.plan
				sh.planMu.Unlock()
				if p != nil {
					p.Tick(now, sh.stats().ToPeers)
				}
			}
		}
	}
}
