package p2p

import (
	"sync"

	"github.com/anacrolix/torrent"

	"redflag/p2p/plan"
)

// asks shares the requests that may be outstanding among the peers of a
// region. Its methods run in callbacks, under the library's lock, which also
// guards the limits that they set.
type asks struct {
	mu    sync.Mutex // a leaf
	peers map[*torrent.PeerConn]struct{}
}

// add takes up a connection and returns the limit that each has now, of budget
// in all.
func (a *asks) add(c *torrent.PeerConn, budget int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.peers == nil {
		a.peers = make(map[*torrent.PeerConn]struct{})
	}
	a.peers[c] = struct{}{}
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
	limit := plan.Requests(budget, len(a.peers))
	for c := range a.peers {
		c.PeerMaxRequests = limit
	}
	return limit
}
