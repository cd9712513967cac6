package node

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"redflag/api"
)

const (
	// announceInterval is how often a complete member says that it is there.
	announceInterval = 30 * time.Second
	// announceBusy is the interval while it still misses pieces: peers that
	// come later must be found soon.
	announceBusy = 3 * time.Second
	// trackerExpiry is when a silent member is forgotten.
	trackerExpiry = 3 * announceInterval
	// trackerPeers is how many peers one answer carries.
	trackerPeers = 40
)

// member is one participant of a swarm, as its last announce said.
type member struct {
	api.SwarmPeer
	region string
	left   int64
	seen   time.Time
}

// tracker knows who takes part in which swarm. It answers with members of the
// caller's region only: payloads cross regions between nodes, never between
// agents.
type tracker struct {
	mu     sync.Mutex
	swarms map[string]map[string]*member // info hash → member id
}

func newTracker() *tracker { return &tracker{swarms: map[string]map[string]*member{}} }

// announce records m and returns its peers and its rank among those of its
// region that still miss pieces.
func (t *tracker) announce(infoHash string, m member, now time.Time) api.AnnounceResponse {
	t.mu.Lock()
	defer t.mu.Unlock()
	swarm := t.swarms[infoHash]
	if swarm == nil {
		swarm = map[string]*member{}
		t.swarms[infoHash] = swarm
	}
	m.seen = now
	swarm[m.ID] = &m

	resp := api.AnnounceResponse{Interval: api.Duration(announceInterval), Size: 1}
	if m.left > 0 {
		resp.Interval = api.Duration(announceBusy)
	}
	var missing []string
	for id, o := range swarm {
		if now.Sub(o.seen) > trackerExpiry {
			delete(swarm, id)
			continue
		}
		if o.region != m.region {
			continue
		}
		if o.left > 0 {
			missing = append(missing, id)
		}
		if id != m.ID && (o.left > 0 || m.left > 0) { // two seeds have nothing to say
			resp.Peers = append(resp.Peers, o.SwarmPeer)
		}
	}
	slices.Sort(missing)
	if i, ok := slices.BinarySearch(missing, m.ID); ok {
		resp.Rank, resp.Size = i, len(missing)
	}
	slices.SortFunc(resp.Peers, func(a, b api.SwarmPeer) int { return cmp.Compare(a.ID, b.ID) })
	rand.Shuffle(len(resp.Peers), func(i, j int) { resp.Peers[i], resp.Peers[j] = resp.Peers[j], resp.Peers[i] })
	resp.Peers = resp.Peers[:min(len(resp.Peers), trackerPeers)]
	return resp
}

// forget drops swarms without members.
func (t *tracker) sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for hash, swarm := range t.swarms {
		for id, m := range swarm {
			if now.Sub(m.seen) > trackerExpiry {
				delete(swarm, id)
			}
		}
		if len(swarm) == 0 {
			delete(t.swarms, hash)
		}
	}
}
