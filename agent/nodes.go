package agent

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/regions"
)

const (
	// fullLoad is the share of its poll budget, in percent, from which on a node
	// stretches its agents' intervals.
	fullLoad = 100
	// leaveOneIn is how many agents of an overloaded node stay for each that
	// looks for another at a poll: they must not all go to the same one.
	leaveOneIn = 8
	// As near as the nearest is a node within half of its round trip more, and
	// a little that noise explains.
	nearFactor = 1.5
	nearNoise  = 5 * time.Millisecond
)

// nodeList knows the nodes and in which order to ask them: the agent's region
// first, then the shortest round trip, and those that failed lately at the
// end. Among nodes that are equally near it stays with the one that it has,
// and finds that by the power of two choices (Mitzenmacher, 2001): the less
// loaded of two drawn. It is safe for concurrent use.
type nodeList struct {
	region string
	first  []string // host:port from the configuration
	rtt    regions.RTT
	now    func() time.Time

	mu      sync.Mutex
	learnt  []api.NodeAddr
	tripped map[string]*breaker // by address
	current string              // id of the node that answered last
}

func newNodeList(region string, first []string, learnt []api.NodeAddr) *nodeList {
	return &nodeList{region: region, first: first, learnt: learnt, now: time.Now, tripped: map[string]*breaker{}}
}

// order returns all nodes, the one to ask first at the front.
func (l *nodeList) order() []api.NodeAddr {
	l.mu.Lock()
	defer l.mu.Unlock()
	rtt := l.distancesLocked()
	ranked := regions.Rank(l.allLocked(), l.region, rtt)
	slices.SortStableFunc(ranked, func(a, b api.NodeAddr) int { return l.penaltyLocked(a) - l.penaltyLocked(b) })
	best := 0
	for best < len(ranked) && l.penaltyLocked(ranked[best]) == 0 && l.asNear(ranked[0], ranked[best], rtt) {
		best++
	}
	if best > 1 {
		i := l.pickLocked(ranked[:best])
		chosen := ranked[i]
		copy(ranked[1:i+1], ranked[:i])
		ranked[0] = chosen
	}
	return ranked
}

// healthy returns the node with an id, if it is known and has not failed lately.
func (l *nodeList) healthy(id string) (api.NodeAddr, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.allLocked() {
		if n.ID == id {
			return n, l.penaltyLocked(n) == 0
		}
	}
	return api.NodeAddr{}, false
}

// allLocked returns the nodes from the configuration and from polls.
func (l *nodeList) allLocked() []api.NodeAddr {
	all := slices.Clone(l.learnt)
	for _, addr := range l.first {
		if !slices.ContainsFunc(all, func(n api.NodeAddr) bool { return n.Addr == addr }) {
			// Who answers there is not known before the first poll.
			all = append(all, api.NodeAddr{ID: addr, Addr: addr})
		}
	}
	return all
}

// distancesLocked returns the round trips as measured, and where nothing was
// measured, from the node that named the others.
func (l *nodeList) distancesLocked() map[string]time.Duration {
	out := map[string]time.Duration{}
	for _, n := range l.learnt {
		if n.RTT > 0 {
			out[n.ID] = time.Duration(n.RTT)
		}
	}
	maps.Copy(out, l.rtt.Snapshot())
	return out
}

// asNear reports whether b serves as well as the best node a.
func (l *nodeList) asNear(a, b api.NodeAddr, rtt map[string]time.Duration) bool {
	if (a.Region == l.region) != (b.Region == l.region) {
		return false
	}
	da, knownA := rtt[a.ID]
	db, knownB := rtt[b.ID]
	return !knownA || !knownB || db <= time.Duration(nearFactor*float64(da))+nearNoise
}

// pickLocked returns the index of the node to ask among equals.
func (l *nodeList) pickLocked(equals []api.NodeAddr) int {
	if i := slices.IndexFunc(equals, func(n api.NodeAddr) bool { return n.ID == l.current }); i >= 0 {
		return i
	}
	a := rand.IntN(len(equals))
	b := rand.IntN(len(equals) - 1)
	if b >= a {
		b++
	}
	if equals[b].Load < equals[a].Load {
		return b
	}
	return a
}

// stay records that n answered a request, and shall be asked again.
func (l *nodeList) stay(n api.NodeAddr) {
	l.well(n)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = n.ID
}

// learn takes over the nodes that a poll named and reports whether they are
// others than before. A node is not believed to have removed all of them.
func (l *nodeList) learn(nodes []api.NodeAddr) bool {
	nodes = slices.DeleteFunc(slices.Clone(nodes), func(n api.NodeAddr) bool {
		return !api.ValidID(n.ID) || checkAddr(n.Addr) != nil
	})
	nodes = nodes[:min(len(nodes), maxNodes)]
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(nodes) == 0 {
		return false
	}
	changed := !sameNodes(nodes, l.learnt)
	l.learnt = nodes
	l.leaveLoadedLocked()
	l.forgetLocked()
	return changed
}

// leaveLoadedLocked makes a few of an overloaded node's agents look again.
func (l *nodeList) leaveLoadedLocked() {
	for _, n := range l.learnt {
		if n.ID == l.current && n.Load >= fullLoad && rand.IntN(leaveOneIn) == 0 {
			l.current = ""
		}
	}
}

// known returns the nodes learnt from polls.
func (l *nodeList) known() []api.NodeAddr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.learnt)
}

// sameNodes ignores the order and what changes from poll to poll.
func sameNodes(a, b []api.NodeAddr) bool {
	if len(a) != len(b) {
		return false
	}
	for _, n := range a {
		if !slices.ContainsFunc(b, func(m api.NodeAddr) bool {
			return n.ID == m.ID && n.Region == m.Region && n.Addr == m.Addr
		}) {
			return false
		}
	}
	return true
}
