package agent

import (
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/regions"
)

// How long a node that failed is asked last, by full jitter.
const (
	coolBase  = 2 * time.Second
	coolLimit = time.Minute
)

// nodeList knows the nodes and in which order to ask them: the agent's region
// first, then the shortest measured round trip, and those that failed lately
// at the end. It is safe for concurrent use.
type nodeList struct {
	region string
	first  []string // host:port from the configuration
	rtt    regions.RTT
	now    func() time.Time

	mu     sync.Mutex
	learnt []api.NodeAddr
	cool   map[string]*cooling // by address
}

// cooling is the penalty of a node that failed.
type cooling struct {
	until  time.Time
	closed time.Time // it is not to be asked at all before
	wait   backoff
}

func newNodeList(region string, first []string, learnt []api.NodeAddr) *nodeList {
	return &nodeList{region: region, first: first, learnt: learnt, now: time.Now, cool: map[string]*cooling{}}
}

// order returns all nodes, the one to ask first at the front.
func (l *nodeList) order() []api.NodeAddr {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.Clone(l.learnt)
	for _, addr := range l.first {
		if !slices.ContainsFunc(all, func(n api.NodeAddr) bool { return n.Addr == addr }) {
			// Who answers there is not known before the first poll.
			all = append(all, api.NodeAddr{ID: addr, Addr: addr})
		}
	}
	ranked := regions.Rank(all, l.region, l.rtt.Snapshot())
	now := l.now()
	slices.SortStableFunc(ranked, func(a, b api.NodeAddr) int {
		return l.penalty(a, now) - l.penalty(b, now)
	})
	return ranked
}

// penalty is 1 while n cools down after a failure, else 0.
func (l *nodeList) penalty(n api.NodeAddr, now time.Time) int {
	if c := l.cool[n.Addr]; c != nil && now.Before(c.until) {
		return 1
	}
	return 0
}

// well records that n answered.
func (l *nodeList) well(n api.NodeAddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.cool, n.Addr)
}

// closedFor is how long n still wants to be left alone.
func (l *nodeList) closedFor(n api.NodeAddr) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.cool[n.Addr]; c != nil {
		return c.closed.Sub(l.now())
	}
	return 0
}

// failed records that n did not answer, or not usefully, and that it is not to
// be asked again before leave has passed.
func (l *nodeList) failed(n api.NodeAddr, leave time.Duration) {
	l.rtt.Fail(n.ID)
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.cool[n.Addr]
	if c == nil {
		c = &cooling{wait: backoff{base: coolBase, limit: coolLimit}}
		l.cool[n.Addr] = c
	}
	c.until, c.closed = l.now().Add(max(c.wait.next(), leave)), l.now().Add(leave)
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
	if len(nodes) == 0 || sameNodes(nodes, l.learnt) {
		return false
	}
	l.learnt = nodes
	for addr := range l.cool {
		if !slices.ContainsFunc(nodes, func(n api.NodeAddr) bool { return n.Addr == addr }) {
			delete(l.cool, addr)
		}
	}
	return true
}

// known returns the nodes learnt from polls.
func (l *nodeList) known() []api.NodeAddr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.learnt)
}

// sameNodes ignores the order, which changes with every poll.
func sameNodes(a, b []api.NodeAddr) bool {
	if len(a) != len(b) {
		return false
	}
	for _, n := range a {
		if !slices.Contains(b, n) {
			return false
		}
	}
	return true
}
