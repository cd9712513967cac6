package p2p

import (
	"math/rand/v2"
	"sync"
	"time"

	"redflag/api"
)

const (
	// announceInterval is how often a complete member says that it is there.
	announceInterval = 30 * time.Second
	// announceBusy is the interval while it still misses pieces: peers that
	// come later must be found soon. In a swarm with more than announceBudget
	// members a second they are many, and the interval stretches up to
	// announceSlow, which stays below crossingExpiry.
	announceBusy   = 3 * time.Second
	announceSlow   = 12 * time.Second
	announceBudget = 500
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
	// looks bounds the members that are looked at for one answer.
	looks = 4 * trackerPeers
)

// Member is one participant of a swarm, as its last announce said.
type Member struct {
	Peer
	Addr  string // host:port
	Left  int64  // bytes still missing
	seen  time.Time
	moved time.Time // when it had got something more
	came  time.Time // when it asked first, without a longer silence since
	at    [2]int    // where it stands in its crowds: inRegion, inSite
}

// Tracker knows who takes part in which swarm. It answers with members of the
// caller's region only: payloads cross regions between nodes, never between
// agents. An answer costs the same however many members there are. It is safe
// for concurrent use.
type Tracker struct {
	mu     sync.Mutex
	intN   func(n int) int
	swarms map[string]*members // by info hash
}

// NewTracker returns a tracker that knows nobody.
func NewTracker() *Tracker { return &Tracker{intN: rand.IntN, swarms: map[string]*members{}} }

// Simulate makes the tracker take its random numbers from elsewhere, so that a
// run can be repeated. It is for before the first announce.
func (t *Tracker) Simulate(intN func(n int) int) { t.intN = intN }

func (t *Tracker) swarm(infoHash string) *members {
	s := t.swarms[infoHash]
	if s == nil {
		s = &members{byID: map[string]*Member{}, crowds: map[place]*crowd{}, crossing: map[string]crossing{}}
		t.swarms[infoHash] = s
	}
	return s
}

// Announce records m and returns its peers and its rank among those of its
// region that still miss pieces.
func (t *Tracker) Announce(infoHash string, m Member, now time.Time) api.AnnounceResponse {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.swarm(infoHash)
	self := s.take(m, now)
	region, site := s.crowd(place{region: m.Region}), &crowd{}
	if m.Site != "" {
		site = s.crowd(place{m.Region, m.Site})
	}
	resp := api.AnnounceResponse{Interval: api.Duration(announceInterval), Size: 1}
	if m.Left > 0 {
		resp.Interval = api.Duration(busyInterval(len(region.missing)))
		resp.Rank, resp.Size = self.at[inRegion], len(region.missing)
	} else { // two seeds have nothing to say
		region, site = &crowd{missing: region.missing}, &crowd{missing: site.missing}
	}
	there := func(o *Member) bool { return o != self && now.Sub(o.seen) <= memberExpiry }
	near := t.draw(site, there)
	far := t.draw(region, func(o *Member) bool { return there(o) && (o.Site == "" || o.Site != m.Site) })
	keep := min(len(near), trackerPeers-min(len(far), strangers))
	for _, o := range near[:keep] {
		resp.Peers = append(resp.Peers, api.SwarmPeer{ID: o.ID, Node: o.Node, Addr: o.Addr, SameSite: true})
	}
	for _, o := range far[:min(len(far), trackerPeers-keep)] {
		resp.Peers = append(resp.Peers, api.SwarmPeer{ID: o.ID, Node: o.Node, Addr: o.Addr})
	}
	return resp
}

// busyInterval is the time between announces of each of so many members of a
// region that miss pieces.
func busyInterval(missing int) time.Duration {
	return min(max(announceBusy, time.Duration(missing)*time.Second/announceBudget), announceSlow)
}

// draw picks up to trackerPeers at random of those that are ok. Of many it
// looks at some only.
func (t *Tracker) draw(c *crowd, ok func(*Member) bool) (picked []*Member) {
	n := c.size()
	moved := map[int]*Member{} // a shuffle of which only the head is made
	at := func(i int) *Member {
		if m := moved[i]; m != nil {
			return m
		}
		return c.member(i)
	}
	for i := 0; i < min(n, looks) && len(picked) < trackerPeers; i++ {
		j := i + t.intN(n-i)
		m := at(j)
		moved[j] = at(i)
		if ok(m) {
			picked = append(picked, m)
		}
	}
	return picked
}

// Members returns those of a region that take part in a swarm.
func (t *Tracker) Members(infoHash, region string, now time.Time) (list []api.SwarmPeer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.swarm(infoHash).crowd(place{region: region})
	for _, m := range t.draw(c, func(m *Member) bool { return now.Sub(m.seen) <= memberExpiry }) {
		list = append(list, api.SwarmPeer{ID: m.ID, Node: m.Node, Addr: m.Addr})
	}
	return list
}

// Crosser returns the member of a region that may fetch from a node of another
// one; empty for none. It is chosen once nothing has come to any member for
// wait: a node that starts again finds the payload where it was. With nodes
// says that a living node is in the region. The chosen one stays the only one
// until it is silent or has it all, or until a region without a living node
// has one again. With a whole copy in the region nobody needs to.
func (t *Tracker) Crosser(infoHash, region string, withNodes bool, wait time.Duration, now time.Time) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.swarm(infoHash)
	cur, first, came, moved := s.crossing[region], "", now, time.Time{}
	stays := false
	c := s.crowd(place{region: region})
	for i := range c.size() {
		o := c.member(i)
		silent := now.Sub(o.seen)
		if o.Left == 0 && silent <= memberExpiry { // it says so rarely
			delete(s.crossing, region)
			return ""
		}
		if silent > crossingExpiry {
			continue
		}
		stays = stays || (o.ID == cur.id && (!cur.helpless || !withNodes))
		if first == "" || o.ID < first {
			first = o.ID
		}
		if o.came.Before(came) {
			came = o.came
		}
		if o.moved.After(moved) && o.moved.After(o.came) {
			moved = o.moved
		}
	}
	if stays {
		return cur.id
	}
	delete(s.crossing, region)
	if moved.Before(came) || !withNodes {
		moved = came // what peers of a lost node still give each other does not count
	}
	if first == "" || now.Sub(moved) < wait {
		return ""
	}
	s.crossing[region] = crossing{first, !withNodes}
	return first
}

// Sweep forgets silent members, and swarms without members.
func (t *Tracker) Sweep(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for hash, s := range t.swarms {
		s.sweep(now)
		if len(s.byID) == 0 {
			delete(t.swarms, hash)
		}
	}
}
