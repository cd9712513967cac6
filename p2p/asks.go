package p2p

import (
	"sync"
	"time"

	"github.com/anacrolix/torrent"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"redflag/p2p/plan"
)

// asks shares the requests that may be outstanding among the peers of a
// region. All methods but heard run in callbacks, under the library's lock, which
// also guards the limits that they set.
type asks struct {
	mu      sync.Mutex // a leaf
	peers   map[*torrent.PeerConn]*holding
	pieces  int // of the payload
	blocks  int // of the payload
	got     int // blocks
	weighed time.Time
}

// holding is what a peer has.
type holding struct {
	node   bool
	pieces int
}

// weighTime is the time between two looks at who is behind.
const weighTime = 500 * time.Millisecond

// add takes up a connection and returns the limit that each has now, of budget
// in all.
func (a *asks) add(c *torrent.PeerConn, node bool, budget int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.peers == nil {
		a.peers = make(map[*torrent.PeerConn]*holding)
	}
	a.peers[c] = &holding{node: node}
	return a.share(budget)
}

func (a *asks) remove(c *torrent.PeerConn, budget int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.peers[c]; ok {
		delete(a.peers, c)
		a.share(budget)
	}
}

// share needs mu.
func (a *asks) share(budget int) int {
	if plan.Behind(float64(a.got)/float64(a.blocks), a.others()) {
		budget *= plan.BehindAsks
	}
	limit := min(farRequests, plan.Requests(budget, len(a.peers)))
	for c := range a.peers {
		c.PeerMaxRequests = limit
	}
	return limit
}

// others returns the parts of the payload that other agents have which fetch it
// too. It needs mu.
func (a *asks) others() (parts []float64) {
	for _, h := range a.peers {
		if !h.node && h.pieces < a.pieces {
			parts = append(parts, float64(h.pieces)/float64(a.pieces))
		}
	}
	return parts
}

// delivered counts a block.
func (a *asks) delivered(now time.Time, budget int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got++
	if now.Sub(a.weighed) >= weighTime {
		a.weighed = now
		a.share(budget)
	}
}

// heard takes a peer's word for what it has.
func (a *asks) heard(c *torrent.PeerConn, m *pp.Message) {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.peers[c]
	if h == nil {
		return
	}
	switch m.Type {
	case pp.Have:
		h.pieces++
	case pp.HaveAll:
		h.pieces = a.pieces
	case pp.HaveNone:
		h.pieces = 0
	case pp.Bitfield:
		h.pieces = 0
		for _, has := range m.Bitfield {
			if has {
				h.pieces++
			}
		}
	default:
	}
}
