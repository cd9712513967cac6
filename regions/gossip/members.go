package gossip

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"redflag/api"
)

// Member is a node as the gossip sees it.
type Member struct {
	ID       string
	Region   string
	MeshAddr string // host:port
	Version  string
	// Load is the share of its poll budget that a node uses, in percent.
	Load  int
	Alive bool
	// Gone is when a node that is not alive left or was found dead.
	Gone time.Time
	// RTT is the estimated round trip from this node, 0 where none is known.
	RTT time.Duration
}

// members follows memberlist's events. memberlist calls it while it holds its
// own lock: nothing here may call back.
type members struct {
	forget time.Duration // how long the dead are kept
	places *positions
	mu     sync.Mutex
	byID   map[string]entry
}

type entry struct {
	Member
	gone time.Time
}

func newMembers(forget time.Duration, places *positions) *members {
	return &members{forget: forget, places: places, byID: map[string]entry{}}
}

// NotifyAlive implements memberlist.AliveDelegate: a node that does not
// describe itself properly is no member.
func (m *members) NotifyAlive(n *memberlist.Node) error {
	if !api.ValidID(n.Name) {
		return fmt.Errorf("%w: id", errMeta)
	}
	_, err := decodeMeta(n.Meta)
	return err
}

// NotifyJoin implements memberlist.EventDelegate.
func (m *members) NotifyJoin(n *memberlist.Node) {
	d, err := decodeMeta(n.Meta)
	if err != nil {
		return // NotifyAlive has refused and logged it
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.byID[n.Name] = entry{Member: Member{
		ID: n.Name, Region: d.Region, MeshAddr: d.MeshAddr, Version: d.Version, Load: d.Load, Alive: true,
	}}
}

// NotifyUpdate implements memberlist.EventDelegate.
func (m *members) NotifyUpdate(n *memberlist.Node) { m.NotifyJoin(n) }

// NotifyLeave implements memberlist.EventDelegate: n left or was found dead.
func (m *members) NotifyLeave(n *memberlist.Node) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.byID[n.Name]; ok {
		e.Alive, e.gone = false, time.Now()
		m.byID[n.Name] = e
	}
}

// list drops the dead at the age at which memberlist does, which tells nobody.
// Until then their place is known: who is near a region without living nodes?
func (m *members) list() []Member {
	far := m.places.distances("")
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Member, 0, len(m.byID))
	for id, e := range m.byID {
		if !e.Alive && time.Since(e.gone) > m.forget {
			delete(m.byID, id)
			m.places.forget(id)
			continue
		}
		e.RTT, e.Gone = far[id], e.gone
		out = append(out, e.Member)
	}
	slices.SortFunc(out, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// route prefers a member's mesh address to the IP address that the member saw
// in it: the name may mean another address elsewhere, and many a host resolves
// its own name to loopback.
func (m *members) route(a memberlist.Address) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e, ok := m.byID[a.Name]; ok {
		return e.MeshAddr
	}
	return a.Addr
}
