package node

import (
	"context"
	"net/http"
	"sync"
	"time"

	"redflag/api"
	"redflag/consensus"
	"redflag/consensus/state"
	"redflag/telemetry"
)

// lead runs what only the leader does: renewing online metadata, keeping the
// Raft configuration in step with the replicated list of nodes, and minding who
// votes and who leads.
func (n *Node) lead(ctx context.Context) error {
	n.log.Info("leading")
	var supervision sync.WaitGroup
	supervision.Go(func() { n.cluster.Supervise(ctx, n.supervision(ctx)) })
	supervision.Go(func() { n.mindPool(ctx) })
	supervision.Go(func() { n.mindCoordinators(ctx) })
	defer supervision.Wait()
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	nextRefresh := time.Now()
	for {
		n.reconcileServers(ctx)
		n.rollCA(ctx)
		if now := time.Now(); now.After(nextRefresh) {
			nextRefresh = now.Add(time.Minute)
			if err := n.refreshOnline(ctx); err != nil && ctx.Err() == nil {
				n.log.Error("renewing snapshot and timestamp failed", telemetry.KeyError, err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// reconcileServers brings every enrolled node that is alive into the Raft
// configuration under the address that it gave, without a vote at first, and
// takes out those that operators removed. Gossip alone never removes a node.
func (n *Node) reconcileServers(ctx context.Context) {
	servers := map[string]string{}
	for _, v := range n.cluster.Status().Servers() {
		servers[v.ID] = v.Addr
	}
	for _, m := range n.members() {
		if !m.Alive || servers[m.ID] == m.Addr {
			continue
		}
		if err := n.cluster.JoinNonVoter(ctx, m.ID, m.Addr); err != nil {
			n.log.Warn("adding node failed", "added", m.ID, telemetry.KeyError, err)
			continue
		}
		n.log.Info("node added", "added", m.ID, "addr", m.Addr)
	}
	for id := range servers {
		if _, enrolled := n.state().Node(id); enrolled || id == n.cfg.ID {
			continue
		}
		if err := n.cluster.Remove(ctx, id); err != nil {
			n.log.Warn("removing node failed", "removed", id, telemetry.KeyError, err)
			continue
		}
		n.log.Info("node removed from the log's configuration", "removed", id)
	}
}

// members joins the enrolled nodes with what gossip says of them.
func (n *Node) members() []consensus.Member {
	alive := map[string]bool{n.cfg.ID: true}
	for _, m := range n.gossip.Members() {
		alive[m.ID] = alive[m.ID] || m.Alive
	}
	var out []consensus.Member
	for _, m := range n.state().Nodes() {
		out = append(out, consensus.Member{ID: m.ID, Addr: m.MeshAddr, Region: m.Region, Alive: alive[m.ID], NonVoter: m.NonVoter})
	}
	return out
}

func (n *Node) supervision(ctx context.Context) consensus.Supervision {
	return consensus.Supervision{
		Members: n.members,
		Policy:  n.policy,
		Stats: func(ctx context.Context, m consensus.Member) (s consensus.Stats, err error) {
			err = n.meshClient(m.Addr).Do(ctx, http.MethodGet, pathStats, nil, &s)
			return s, err
		},
		Remove: func(id string) { go n.removeDead(ctx, id) },
	}
}

// pathStats is where a node says how far it is with the log.
const pathStats = "/v1/mesh/stats"

func (n *Node) stats(*http.Request) (any, error) { return n.cluster.Stats(), nil }

func (n *Node) policy() consensus.Policy {
	s := n.state().Settings()
	return consensus.Policy{
		PromoteAfter:    s.Duration(api.SettingPromoteAfter),
		LeaderRegion:    s.Get(api.SettingLeaderRegion),
		LeaderAfter:     s.Duration(api.SettingLeaderAfter),
		LeaderPause:     s.Duration(api.SettingLeaderPause),
		RemoveDeadAfter: s.Duration(api.SettingRemoveDeadAfter),
		MinVoters:       int(s.Int(api.SettingMinVoters)),
	}
}

// removeDead forgets a node that was dead for as long as the settings allow.
func (n *Node) removeDead(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
	defer cancel()
	if _, err := n.propose(ctx, state.TypeRemoveNode, state.RemoveNode{ID: id}); err != nil {
		n.log.Warn("removing dead node failed", "removed", id, telemetry.KeyError, err)
		return
	}
	n.log.Warn("dead node removed", "removed", id)
}
