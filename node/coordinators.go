package node

import (
	"cmp"
	"context"
	"math"
	"net/http"
	"slices"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/regions/gossip"
	"redflag/telemetry"
)

const (
	// coordinateEvery is how often the leader looks at the regions.
	coordinateEvery = time.Second
	// loadMargin is how much less loaded another node must be before a region
	// moves to it, in percent of the poll budget: it shall not go to and fro.
	loadMargin = 25
)

// mindCoordinators gives each region a coordinator by its policy and renews the
// leases of those that are heard, while this node leads. A lease that is not
// renewed ends, and the region goes to another.
func (n *Node) mindCoordinators(ctx context.Context) {
	ticker := time.NewTicker(coordinateEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if n.cluster.Knows(state.TypeAssignCoordinators) {
			n.assignCoordinators(ctx)
		}
	}
}

func (n *Node) assignCoordinators(ctx context.Context) {
	e := state.AssignCoordinators{Leases: n.coordinatorLeases()}
	if len(e.Leases) == 0 {
		return
	}
	before := map[string]string{}
	for _, l := range e.Leases {
		c, _ := n.state().Coordinator(l.Region)
		before[l.Region] = c.Node
	}
	result, err := n.cluster.Propose(ctx, state.TypeAssignCoordinators, e)
	if err != nil {
		n.log.Debug("coordinators not assigned", telemetry.KeyError, err)
		return
	}
	for i, l := range e.Leases {
		if i < len(result.Errors) && result.Errors[i] == nil && before[l.Region] != l.Node {
			n.log.Info("coordinator assigned", "of_region", l.Region, "coordinator", l.Node, "before", before[l.Region], "handed_over", l.HandOver)
		}
	}
}

// coordinatorLeases returns the leases to give now: those that change, and if
// any must be renewed, all of them, so that they share their entries.
func (n *Node) coordinatorLeases() []state.CoordinatorLease {
	members, enrolled := n.gossip.Members(), map[string]bool{}
	for _, m := range n.state().Nodes() {
		enrolled[m.ID] = true
	}
	members = slices.DeleteFunc(members, func(m gossip.Member) bool { return !enrolled[m.ID] })
	now, due := n.leaderTime(), false
	var leases []state.CoordinatorLease
	for _, region := range n.state().Regions() {
		s := n.state().SettingsFor(api.SettingsTarget{Region: region})
		held, _ := n.state().Coordinator(region)
		l := state.CoordinatorLease{Region: region, For: s.Duration(api.SettingCoordinatorLease)}
		l.Node = chooseCoordinator(region, s.Get(api.SettingCoordinator), held.Node, members, n.farFrom(region, members))
		l.HandOver = held.Node != l.Node && slices.ContainsFunc(members, func(m gossip.Member) bool { return m.Alive && m.ID == held.Node })
		left := held.Until.Sub(now)
		switch {
		case l.Node == "", held.Node != l.Node && left > 0 && !l.HandOver:
			continue // nobody is there, or the silent one has time left
		case held.Node != l.Node, left <= l.For/2, left > l.For+coordinateEvery: // new, due, or longer than the setting
			due = true
		}
		leases = append(leases, l)
	}
	if !due {
		return nil
	}
	return leases
}

// chooseCoordinator returns the living member that a policy picks for a region,
// or "". Of members that serve alike, the one that has the region keeps it.
func chooseCoordinator(region, policy, held string, members []gossip.Member, far map[string]time.Duration) string {
	pinned, _ := api.PoolPinned(policy)
	rank := func(m gossip.Member) int {
		switch {
		case m.ID == pinned:
			return 0
		case m.Region == region:
			return 1
		}
		return 2
	}
	load := func(m gossip.Member) int {
		if policy != api.PoolLeastLoaded || m.Region != region {
			return 0
		}
		return m.Load
	}
	distance := func(m gossip.Member) time.Duration {
		if d, known := far[m.ID]; known && m.Region != region {
			return d
		}
		if m.Region == region {
			return 0
		}
		return math.MaxInt64
	}
	living := slices.DeleteFunc(slices.Clone(members), func(m gossip.Member) bool { return !m.Alive })
	if len(living) == 0 {
		return ""
	}
	best := slices.MinFunc(living, func(a, b gossip.Member) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(load(a), load(b)),
			cmp.Compare(distance(a), distance(b)), cmp.Compare(a.ID, b.ID))
	})
	for _, m := range living {
		if m.ID == held && rank(m) == rank(best) && load(m)-load(best) < loadMargin {
			return held
		}
	}
	return best.ID
}

// farFrom returns the round trip to each node from the nearest node of a
// region, alive or lately dead, as far as gossip knows.
func (n *Node) farFrom(region string, members []gossip.Member) map[string]time.Duration {
	far := map[string]time.Duration{}
	for _, m := range members {
		if m.Region != region {
			continue
		}
		for id, d := range n.gossip.Distances(m.ID) {
			if have, known := far[id]; !known || d < have {
				far[id] = d
			}
		}
	}
	return far
}

// leaderTime is the time by the leader's clock, which leases end by; zero if
// nothing of a leader was heard lately.
func (n *Node) leaderTime() time.Time {
	stale := n.cluster.Stale()
	if stale > 24*time.Hour {
		return time.Time{}
	}
	return n.state().LastTick().Add(stale)
}

// coordinator returns who has the lease of a region, if it runs.
func (n *Node) coordinator(region string) (api.Coordinator, bool) {
	c, ok := n.state().Coordinator(region)
	now := n.leaderTime()
	return c, ok && !now.IsZero() && now.Before(c.Until)
}

// acting returns who fetches for a region at this moment: its coordinator or,
// while no lease runs, its living node with the lowest id. Without a leader the
// regions so go on by themselves.
func (n *Node) acting(region string, members []gossip.Member) string {
	if c, ok := n.coordinator(region); ok {
		return c.Node
	}
	lowest := ""
	for _, m := range members {
		if m.Alive && m.Region == region && (lowest == "" || m.ID < lowest) {
			lowest = m.ID
		}
	}
	return lowest
}

// standIn returns the node that coordinates a region for want of a living node
// of its own, or "".
func (n *Node) standIn(region string, members []gossip.Member) string {
	if slices.ContainsFunc(members, func(m gossip.Member) bool { return m.Alive && m.Region == region }) {
		return ""
	}
	c, ok := n.coordinator(region)
	if !ok {
		return ""
	}
	return c.Node
}

// listRegions tells who coordinates which region, and by which policy.
func (n *Node) listRegions(*http.Request) (any, error) {
	nodes, agents, members := n.nodes(), n.countAgents(api.Selector{All: true}), n.gossip.Members()
	out := []api.Region{}
	for _, name := range n.state().Regions() {
		s := n.state().SettingsFor(api.SettingsTarget{Region: name})
		r := api.Region{
			Name: name, Agents: agents[name], Policy: s.Get(api.SettingCoordinator),
			Lease: api.Duration(s.Duration(api.SettingCoordinatorLease)), Acting: n.acting(name, members),
		}
		for _, m := range nodes {
			if m.Region == name {
				r.Nodes++
				r.Alive += btoi(m.Alive)
			}
		}
		if c, ok := n.coordinator(name); ok {
			r.Coordinator = &c
			home, _ := n.state().Node(c.Node)
			r.StandIn = home.Region != name
		}
		out = append(out, r)
	}
	return out, nil
}
