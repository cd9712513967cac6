package p2ptest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/p2p"
)

// Tracker hands out all peers that have announced, and ranks those of a region
// that still miss pieces. It is safe for concurrent use.
type Tracker struct {
	mu     sync.Mutex
	swarms map[string]map[string]member // by info hash and peer ID
	down   bool
}

type member struct {
	peer p2p.Peer
	addr string
	left int64
}

// SetDown makes every announce fail, or work again.
func (t *Tracker) SetDown(down bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.down = down
}

// Left returns what a peer said last that it misses, and whether it has
// announced.
func (t *Tracker) Left(infoHash, peerID string) (int64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.swarms[infoHash][peerID]
	return m.left, ok
}

// Announcer returns the announcer of one peer that listens at addr.
func (t *Tracker) Announcer(peer p2p.Peer, addr string) p2p.Announcer {
	return func(_ context.Context, infoHash string, left int64) (api.AnnounceResponse, error) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.down {
			return api.AnnounceResponse{}, errors.New("tracker is down")
		}
		swarm := t.swarms[infoHash]
		if swarm == nil {
			swarm = make(map[string]member)
			t.swarms[infoHash] = swarm
		}
		swarm[peer.ID] = member{peer, addr, left}
		return answer(swarm, peer), nil
	}
}

func answer(swarm map[string]member, caller p2p.Peer) api.AnnounceResponse {
	resp := api.AnnounceResponse{Interval: api.Duration(time.Second)}
	for _, id := range slices.Sorted(maps.Keys(swarm)) {
		m := swarm[id]
		if m.left > 0 && m.peer.Region == caller.Region {
			if id == caller.ID {
				resp.Rank = resp.Size
			}
			resp.Size++
		}
		if id != caller.ID {
			resp.Peers = append(resp.Peers, api.SwarmPeer{ID: id, Node: m.peer.Node, Addr: m.addr})
		}
	}
	return resp
}
