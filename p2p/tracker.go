package p2p

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
	// memberExpiry is when a silent member is forgotten.
	memberExpiry = 3 * announceInterval
	// crossingExpiry is when a member that fetches across regions and falls
	// silent has its place taken by another.
	crossingExpiry = 5 * announceBusy
	// trackerPeers is how many peers one answer carries.
	trackerPeers = 40
	// strangers is how many of those are picked at random when the caller's
	// site alone could fill the answer: a site must not become an island.
	strangers = 5
)

// Member is one participant of a swarm, as its last announce said.
type Member struct {
	Peer
	Addr string // host:port
	Left int64  // bytes still missing
	seen time.Time
	came time.Time // when it asked first, without a longer silence since
}

// Tracker knows who takes part in which swarm. It answers with members of the
// caller's region only: payloads cross regions between nodes, never between
// agents. It is safe for concurrent use.
type Tracker struct {
	mu     sync.Mutex
	swarms map[string]map[string]*Member // info hash → member id
}

// NewTracker returns a tracker that knows nobody.
func NewTracker() *Tracker { return &Tracker{swarms: map[string]map[string]*Member{}} }

// Announce records m and returns its peers and its rank among those of its
// region that still miss pieces.
func (t *Tracker) Announce(infoHash string, m Member, now time.Time) api.AnnounceResponse {
	t.mu.Lock()
	defer t.mu.Unlock()
	swarm := t.swarms[infoHash]
	if swarm == nil {
		swarm = map[string]*Member{}
		t.swarms[infoHash] = swarm
	}
	m.seen, m.came = now, now
	if o := swarm[m.ID]; o != nil && now.Sub(o.seen) <= crossingExpiry {
		m.came = o.came
	}
	swarm[m.ID] = &m

	resp := api.AnnounceResponse{Interval: api.Duration(announceInterval), Size: 1}
	if m.Left > 0 {
		resp.Interval = api.Duration(announceBusy)
	}
	var missing []string
	var near, far []api.SwarmPeer
	for id, o := range swarm {
		if now.Sub(o.seen) > memberExpiry {
			delete(swarm, id)
			continue
		}
		if o.Region != m.Region {
			continue
		}
		if o.Left > 0 {
			missing = append(missing, id)
		}
		if id == m.ID || (o.Left == 0 && m.Left == 0) { // two seeds have nothing to say
			continue
		}
		p := api.SwarmPeer{ID: o.ID, Node: o.Node, Addr: o.Addr, SameSite: o.Site != "" && o.Site == m.Site}
		if p.SameSite {
			near = append(near, p)
		} else {
			far = append(far, p)
		}
	}
	slices.Sort(missing)
	if i, ok := slices.BinarySearch(missing, m.ID); ok {
		resp.Rank, resp.Size = i, len(missing)
	}
	near, far = pick(near, trackerPeers), pick(far, trackerPeers)
	keep := min(len(near), trackerPeers-min(len(far), strangers))
	resp.Peers = slices.Concat(near[:keep], far[:min(len(far), trackerPeers-keep)])
	return resp
}

// Members returns those of a region that take part in a swarm.
func (t *Tracker) Members(infoHash, region string, now time.Time) (list []api.SwarmPeer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, m := range t.swarms[infoHash] {
		if m.Region == region && now.Sub(m.seen) <= memberExpiry {
			list = append(list, api.SwarmPeer{ID: m.ID, Node: m.Node, Addr: m.Addr})
		}
	}
	return pick(list, trackerPeers)
}

// MayCross reports whether a member may fetch from a node of another region,
// because its own region has none at work. One member of each region may, and
// only once the region's members have asked for wait, so that a node which
// starts again finds the payload where it was. With a whole copy in the
// region nobody needs to.
func (t *Tracker) MayCross(infoHash string, m Member, wait time.Duration, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first, came := "", now
	for id, o := range t.swarms[infoHash] {
		if o.Region != m.Region || now.Sub(o.seen) > crossingExpiry {
			continue
		}
		if o.Left == 0 {
			return false
		}
		if first == "" || id < first {
			first = id
		}
		if o.came.Before(came) {
			came = o.came
		}
	}
	return first == m.ID && now.Sub(came) >= wait
}

// pick returns up to n of the peers, at random.
func pick(peers []api.SwarmPeer, n int) []api.SwarmPeer {
	slices.SortFunc(peers, func(a, b api.SwarmPeer) int { return cmp.Compare(a.ID, b.ID) })
	rand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	return peers[:min(len(peers), n)]
}

// Sweep forgets silent members, and swarms without members.
func (t *Tracker) Sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for hash, swarm := range t.swarms {
		for id, m := range swarm {
			if now.Sub(m.seen) > memberExpiry {
				delete(swarm, id)
			}
		}
		if len(swarm) == 0 {
			delete(t.swarms, hash)
		}
	}
}
