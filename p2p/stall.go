package p2p

import (
	"context"
	"sync"
	"time"

	"github.com/anacrolix/torrent"
)

const (
	// stallTime is how long a peer may be asked for blocks and deliver none.
	stallTime = 20 * time.Second
	// stallShare is how many blocks others must deliver meanwhile, by the number
	// of peers: under a narrow cap all are slow, and none is to blame.
	stallShare = 8
	// stallRefusal is how long a peer that stalled is refused.
	stallRefusal = 2 * time.Minute
	stallTick    = time.Second
)

// stalls notices peers of one share that hold requests and deliver nothing:
// they hang, or trickle on purpose. The library frees their requests for
// others when it runs out of work, and keeps the peer. It is safe for
// concurrent use and its lock is a leaf.
type stalls struct {
	mu    sync.Mutex
	peers map[string]*asked // by made-up address
}

// asked is a peer that holds requests.
type asked struct {
	open   int           // requests
	most   int           // of them since there was none
	waited time.Duration // with open requests, since the last block
	missed int           // blocks that others delivered meanwhile
}

func (s *stalls) peer(addr string) *asked {
	if s.peers == nil {
		s.peers = make(map[string]*asked)
	}
	a := s.peers[addr]
	if a == nil {
		a = &asked{}
		s.peers[addr] = a
	}
	return a
}

func (s *stalls) sent(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.peer(addr)
	a.open++
	a.most = max(a.most, a.open)
}

func (s *stalls) deleted(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.peers[addr]; a != nil && a.open > 0 {
		a.open--
		if a.open == 0 {
			a.most = 0
		}
	}
}

// busy reports whether a peer has more than half of its requests still to serve.
func (s *stalls) busy(addr string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.peers[addr]
	return a != nil && a.open > 1 && 2*a.open > a.most
}

func (s *stalls) delivered(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other, a := range s.peers {
		switch {
		case other == addr:
			a.waited, a.missed = 0, 0
		case a.open > 0:
			a.missed++
		}
	}
}

func (s *stalls) forget(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.peers, addr)
}

// tick lets time pass and returns who has stalled for longer than patience.
func (s *stalls) tick(d, patience time.Duration) (stalled []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for addr, a := range s.peers {
		if a.open == 0 {
			continue
		}
		if a.waited += d; a.waited >= patience && a.missed >= stallShare*len(s.peers) {
			stalled = append(stalled, addr)
		}
	}
	return stalled
}

// watchPeers parts from peers that hold requests and deliver nothing, and
// reports those that were banned, until ctx ends.
func (s *Swarm) watchPeers(ctx context.Context) {
	ticker := time.NewTicker(stallTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.reportBans()
		for _, sh := range s.all() {
			if !sh.payload.isComplete() {
				sh.dropStalled(stallTick)
			}
		}
	}
}

func (sh *share) dropStalled(passed time.Duration) {
	for _, addr := range sh.stalls.tick(passed, time.Duration(sh.s.patience.Load())) {
		sh.stalls.forget(addr)
		if peer, ok := sh.s.book.peer(addr); ok {
			sh.s.log.Warn("peer dropped: it is asked and delivers nothing", keyInfoHash, sh.hex, keyPeer, peer.ID)
			sh.part(peer.ID, stallRefusal)
		}
	}
}

// These run with the library's lock held.

func (s *Swarm) onSent(e torrent.PeerRequestEvent) {
	if sh := s.share(e.Peer.Torrent().InfoHash()); sh != nil {
		sh.stalls.sent(e.Peer.RemoteAddr.String())
	}
}

func (s *Swarm) onDeleted(e torrent.PeerRequestEvent) {
	if sh := s.share(e.Peer.Torrent().InfoHash()); sh != nil {
		sh.stalls.deleted(e.Peer.RemoteAddr.String())
	}
}
