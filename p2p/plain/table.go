package plain

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"
)

const (
	// peerExpiry is when a silent peer is forgotten, and sweepEvery how often
	// that is looked at.
	peerExpiry = 5 * interval / 2
	sweepEvery = interval / 4
	// maxListed bounds the peers of one payload that are remembered, and
	// maxListedPerSource those behind one address.
	maxListed          = 2000
	maxListedPerSource = 50
	// looks bounds the peers that are looked at for one answer.
	looks = 2 * mostPeers
)

// table is who said to take part in the swarm of which payload. Only payloads
// that are served have an entry. An answer costs the same however many peers
// there are. The zero value is ready.
type table struct {
	mu     sync.Mutex
	swarms map[string]*swarm // by info hash
	swept  time.Time
}

// swarm is who takes part for one payload.
type swarm struct {
	byAddr   map[netip.AddrPort]*listed
	bySource map[netip.Prefix]int
	order    []*listed // each knows its place
	seeds    int
}

// listed is a peer as its last announce said.
type listed struct {
	at    netip.AddrPort
	id    string // 20 bytes
	seed  bool
	seen  time.Time
	place int
}

// announce takes a peer in, or lets it go, and returns others at random.
func (t *table) announce(req request, self netip.AddrPort, now time.Time) (a answer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
	s := t.swarms[req.infoHash]
	if s == nil {
		s = &swarm{byAddr: map[netip.AddrPort]*listed{}, bySource: map[netip.Prefix]int{}}
		t.swarms[req.infoHash] = s
	}
	s.drop(self)
	seed := req.left == 0
	if !req.stopped {
		a.peers = s.draw(req.numWant, !seed) // two seeds have nothing to say
		if req.port != 0 && len(s.order) < maxListed && s.bySource[sourceOf(self.Addr())] < maxListedPerSource {
			s.add(&listed{at: self, id: req.peerID, seed: seed, seen: now})
		}
	}
	a.complete, a.incomplete = s.seeds, len(s.order)-s.seeds
	if len(s.order) == 0 {
		delete(t.swarms, req.infoHash)
	}
	return a
}

func (s *swarm) add(p *listed) {
	p.place = len(s.order)
	s.order = append(s.order, p)
	s.byAddr[p.at] = p
	s.bySource[sourceOf(p.at.Addr())]++
	if p.seed {
		s.seeds++
	}
}

func (s *swarm) drop(at netip.AddrPort) {
	p := s.byAddr[at]
	if p == nil {
		return
	}
	last := s.order[len(s.order)-1]
	s.order[p.place], last.place = last, p.place
	s.order = s.order[:len(s.order)-1]
	delete(s.byAddr, at)
	if source := sourceOf(at.Addr()); s.bySource[source] > 1 {
		s.bySource[source]--
	} else {
		delete(s.bySource, source)
	}
	if p.seed {
		s.seeds--
	}
}

// draw picks up to n peers at random. Of many it looks at some only.
func (s *swarm) draw(n int, seeds bool) (picked []listed) {
	for i := 0; i < min(len(s.order), looks) && len(picked) < n; i++ {
		j := i + rand.IntN(len(s.order)-i)
		s.order[i], s.order[j] = s.order[j], s.order[i]
		s.order[i].place, s.order[j].place = i, j
		if p := s.order[i]; seeds || !p.seed {
			picked = append(picked, *p)
		}
	}
	return picked
}

// sweep needs mu.
func (t *table) sweep(now time.Time) {
	if t.swarms == nil {
		t.swarms = map[string]*swarm{}
	}
	if now.Sub(t.swept) < sweepEvery {
		return
	}
	t.swept = now
	for hash, s := range t.swarms {
		for at, p := range s.byAddr {
			if now.Sub(p.seen) > peerExpiry {
				s.drop(at)
			}
		}
		if len(s.order) == 0 {
			delete(t.swarms, hash)
		}
	}
}

func (t *table) size() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.swarms {
		n += len(s.order)
	}
	return n
}

func (t *table) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.swarms = nil
}
