package consensus

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	autopilot "github.com/hashicorp/raft-autopilot"
)

// Member is a node as the owner of a Cluster knows it.
type Member struct {
	ID       string
	Addr     string
	Region   string
	Alive    bool // by gossip
	NonVoter bool // it is to hold the state and never to vote
}

// Stats is how far a node is with the log.
type Stats struct {
	LastIndex   uint64        `json:"last_index"`
	LastTerm    uint64        `json:"last_term"`
	LastContact time.Duration `json:"last_contact"` // since it heard the leader, in nanoseconds
}

// Policy says what Supervise may do. It can change at any time.
type Policy struct {
	// PromoteAfter is how long a new node must be healthy before it votes. While
	// fewer than three vote, a leader that has not led for as long itself does
	// not wait.
	PromoteAfter time.Duration
	// LeaderRegion is where the leader should be; "" for anywhere. It moves to
	// a voter there that was healthy for LeaderAfter, and at most once in
	// LeaderPause.
	LeaderRegion string
	LeaderAfter  time.Duration
	LeaderPause  time.Duration
	// RemoveDeadAfter is how long a node must neither gossip nor answer before
	// it is taken out of the cluster, 0 for never; and never below MinVoters.
	RemoveDeadAfter time.Duration
	MinVoters       int
}

// Supervision is what Supervise needs to know, and may ask for.
type Supervision struct {
	Members func() []Member
	Stats   func(ctx context.Context, m Member) (Stats, error)
	Policy  func() Policy
	// Remove takes a dead node out of the cluster. It must return at once.
	Remove func(id string)
}

// leastVoters make a cluster that survives the loss of one.
const leastVoters = 3

// maxTrailing is how many entries a healthy node may be behind.
const maxTrailing = 256

// Stats returns how far this node is.
func (c *Cluster) Stats() Stats {
	s := Stats{LastIndex: c.raft.LastIndex()}
	s.LastTerm, _ = strconv.ParseUint(c.raft.Stats()["last_log_term"], 10, 64) // it is a number that Raft wrote
	if at := c.raft.LastContact(); !c.IsLeader() {
		s.LastContact = time.Since(at)
	}
	return s
}

// Supervise promotes nodes to voters, demotes those that shall not vote, moves
// the leader to its region and removes the dead, as the policy allows, until
// ctx ends. Only the leader is to run it.
func (c *Cluster) Supervise(ctx context.Context, s Supervision) {
	p := &pilot{cluster: c, Supervision: s, since: time.Now(), health: map[raft.ServerID]health{}, answered: map[raft.ServerID]time.Time{}}
	pilot := autopilot.New(c.raft, p,
		autopilot.WithPromoter(p),
		autopilot.WithUpdateInterval(c.cfg.Timeout),
		autopilot.WithReconcileInterval(2*c.cfg.Timeout),
		autopilot.WithLogger(c.cfg.Logger.Named("autopilot")),
	)
	pilot.Start(ctx)
	<-ctx.Done()
	<-pilot.Stop()
}

// pilot answers the questions of raft-autopilot.
type pilot struct {
	Supervision
	cluster *Cluster
	since   time.Time // this node leads

	mu       sync.Mutex
	health   map[raft.ServerID]health
	answered map[raft.ServerID]time.Time // when a node last did that gossip takes for dead
}

var (
	_ autopilot.ApplicationIntegration = (*pilot)(nil)
	_ autopilot.Promoter               = (*pilot)(nil)
)

// AutopilotConfig implements autopilot.ApplicationIntegration.
func (p *pilot) AutopilotConfig() *autopilot.Config {
	policy := p.Policy()
	return &autopilot.Config{
		CleanupDeadServers:      policy.RemoveDeadAfter > 0,
		LastContactThreshold:    p.cluster.cfg.Timeout,
		MaxTrailingLogs:         maxTrailing,
		MinQuorum:               uint(max(policy.MinVoters, 0)),
		ServerStabilizationTime: policy.PromoteAfter,
	}
}

// health is whether a node is healthy, and since when. The library's own
// StableSince does not move when that changes, as of v0.3.0.
type health struct {
	ok    bool
	since time.Time
}

// NotifyState implements autopilot.ApplicationIntegration.
func (p *pilot) NotifyState(s *autopilot.State) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := map[raft.ServerID]health{}
	for id, srv := range s.Servers {
		h, known := p.health[id]
		if !known || h.ok != srv.Health.Healthy {
			h = health{ok: srv.Health.Healthy, since: time.Now()}
		}
		now[id] = h
	}
	p.health = now
}

// is reports whether a node has been healthy, or not, for so long.
func (p *pilot) is(id raft.ServerID, healthy bool, long time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	h, known := p.health[id]
	return known && h.ok == healthy && time.Since(h.since) >= long
}

// KnownServers implements autopilot.ApplicationIntegration.
func (p *pilot) KnownServers() map[raft.ServerID]*autopilot.Server {
	out := map[raft.ServerID]*autopilot.Server{}
	for _, m := range p.Members() {
		s := &autopilot.Server{
			ID: raft.ServerID(m.ID), Name: m.ID, Address: raft.ServerAddress(m.Addr), NodeStatus: autopilot.NodeFailed,
			RaftVersion: int(raft.ProtocolVersionMax), IsLeader: m.ID == p.cluster.cfg.NodeID, NodeType: nodeType(m), Ext: m,
		}
		if m.Alive || s.IsLeader {
			s.NodeStatus = autopilot.NodeAlive
		}
		out[s.ID] = s
	}
	return out
}

// nonVoter is a node that is not to vote.
const nonVoter autopilot.NodeType = "non-voter"

func nodeType(m Member) autopilot.NodeType {
	if m.NonVoter {
		return nonVoter
	}
	return autopilot.NodeVoter
}

// FetchServerStats implements autopilot.ApplicationIntegration. A node that
// does not answer in time has no stats, and so is not healthy.
func (p *pilot) FetchServerStats(ctx context.Context, servers map[raft.ServerID]*autopilot.Server) map[raft.ServerID]*autopilot.ServerStats {
	var mu sync.Mutex
	out := map[raft.ServerID]*autopilot.ServerStats{}
	var wg sync.WaitGroup
	for id, s := range servers {
		wg.Go(func() {
			stats, err := p.cluster.Stats(), error(nil)
			if string(id) != p.cluster.cfg.NodeID {
				stats, err = p.Stats(ctx, s.Ext.(Member))
			}
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[id] = &autopilot.ServerStats{LastIndex: stats.LastIndex, LastTerm: stats.LastTerm, LastContact: stats.LastContact}
		})
	}
	wg.Wait()
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(out)
}

// RemoveFailedServer implements autopilot.ApplicationIntegration.
func (p *pilot) RemoveFailedServer(s *autopilot.Server) { p.Remove(string(s.ID)) }

// GetServerExt implements autopilot.Promoter.
func (p *pilot) GetServerExt(*autopilot.Config, *autopilot.ServerState) any { return nil }

// GetStateExt implements autopilot.Promoter.
func (p *pilot) GetStateExt(*autopilot.Config, *autopilot.State) any { return nil }

// IsPotentialVoter implements autopilot.Promoter.
func (p *pilot) IsPotentialVoter(t autopilot.NodeType) bool { return t == autopilot.NodeVoter }

// GetNodeTypes implements autopilot.Promoter.
func (p *pilot) GetNodeTypes(_ *autopilot.Config, s *autopilot.State) map[raft.ServerID]autopilot.NodeType {
	types := map[raft.ServerID]autopilot.NodeType{}
	for _, m := range p.Members() {
		if _, ok := s.Servers[raft.ServerID(m.ID)]; ok {
			types[raft.ServerID(m.ID)] = nodeType(m)
		}
	}
	return types
}

// CalculatePromotionsAndDemotions implements autopilot.Promoter.
func (p *pilot) CalculatePromotionsAndDemotions(cfg *autopilot.Config, s *autopilot.State) autopilot.RaftChanges {
	var changes autopilot.RaftChanges
	now := time.Now()
	members := map[raft.ServerID]Member{}
	for _, m := range p.Members() {
		members[raft.ServerID(m.ID)] = m
	}
	wait := cfg.ServerStabilizationTime
	if len(s.Voters) < leastVoters {
		wait = s.ServerStabilizationTime(cfg)
	}
	for id, srv := range s.Servers {
		m, known := members[id]
		switch {
		case !known:
		case m.NonVoter && srv.State == autopilot.RaftVoter:
			changes.Demotions = append(changes.Demotions, id)
		case !m.NonVoter && srv.State == autopilot.RaftNonVoter && p.is(id, true, wait):
			changes.Promotions = append(changes.Promotions, id)
		}
	}
	changes.Leader = p.preferredLeader(now, s, members)
	return changes
}

// preferredLeader returns the voter that is to lead instead of this node, or
// "" when all may stay as it is.
func (p *pilot) preferredLeader(now time.Time, s *autopilot.State, members map[raft.ServerID]Member) raft.ServerID {
	policy := p.Policy()
	moved := time.Unix(0, p.cluster.moved.Load()) // maybe when it led before
	if policy.LeaderRegion == "" || members[s.Leader].Region == policy.LeaderRegion ||
		now.Sub(p.since) < policy.LeaderAfter || now.Sub(moved) < policy.LeaderPause {
		return ""
	}
	for _, id := range s.Voters { // they come in a fixed order
		if id != s.Leader && members[id].Region == policy.LeaderRegion && p.is(id, true, policy.LeaderAfter) {
			p.cluster.moved.Store(now.UnixNano())
			p.cluster.cfg.Logger.Info("moving the leader to its region", "to", string(id), "region", policy.LeaderRegion)
			return id
		}
	}
	return ""
}

// FilterFailedServerRemovals implements autopilot.Promoter. Gossip alone
// removes nobody: a node must not have answered either, for as long as the
// policy says. What operators removed is not its business.
func (p *pilot) FilterFailedServerRemovals(_ *autopilot.Config, _ *autopilot.State, failed *autopilot.FailedServers) *autopilot.FailedServers {
	after := p.Policy().RemoveDeadAfter
	p.ask(slices.Concat(failed.FailedNonVoters, failed.FailedVoters))
	dead := func(servers []*autopilot.Server) []*autopilot.Server {
		var out []*autopilot.Server
		for _, srv := range servers {
			if after > 0 && p.is(srv.ID, false, after) && p.silentFor(srv.ID) >= after {
				out = append(out, srv)
			}
		}
		return out
	}
	return &autopilot.FailedServers{FailedNonVoters: dead(failed.FailedNonVoters), FailedVoters: dead(failed.FailedVoters)}
}

// ask notes which nodes answer, although gossip takes them for dead.
func (p *pilot) ask(servers []*autopilot.Server) {
	ctx, cancel := context.WithTimeout(p.cluster.ctx, p.cluster.cfg.Timeout)
	defer cancel()
	var wg sync.WaitGroup
	for _, srv := range servers {
		m, ok := srv.Ext.(Member)
		if !ok {
			continue
		}
		wg.Go(func() {
			if _, err := p.Stats(ctx, m); err != nil {
				return
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			p.answered[srv.ID] = time.Now()
		})
	}
	wg.Wait()
}

// silentFor is how long ago a node last answered this leader.
func (p *pilot) silentFor(id raft.ServerID) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at, ok := p.answered[id]; ok {
		return time.Since(at)
	}
	return time.Since(p.since)
}

// JoinNonVoter brings a node in without a vote, or changes the address of any
// node. Only the leader can do it.
func (c *Cluster) JoinNonVoter(ctx context.Context, id, addr string) error {
	s := c.Status()
	for _, v := range s.Voters {
		if v.ID == id {
			return c.Join(ctx, id, addr)
		}
	}
	for _, v := range s.NonVoters {
		if v.ID == id && v.Addr == addr && c.IsLeader() {
			return nil
		}
	}
	return c.member(ctx, "join", id, c.raft.AddNonvoter(raft.ServerID(id), raft.ServerAddress(addr), 0, rpcTimeout))
}
