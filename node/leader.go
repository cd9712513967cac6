package node

import (
	"context"
	"time"

	"redflag/telemetry"
)

// lead runs what only the leader does: renewing online metadata and keeping
// the Raft configuration in step with the replicated list of nodes.
func (n *Node) lead(ctx context.Context) error {
	n.log.Info("leading")
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	nextRefresh := time.Now()
	for {
		n.reconcileVoters(ctx)
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

// reconcileVoters makes every enrolled node that is alive a voter under the
// address that it gave, and drops voters that operators removed. Gossip alone
// never removes a voter.
func (n *Node) reconcileVoters(ctx context.Context) {
	voters := map[string]string{}
	for _, v := range n.cluster.Status().Voters {
		voters[v.ID] = v.Addr
	}
	alive := map[string]bool{}
	for _, m := range n.gossip.Members() {
		alive[m.ID] = m.Alive
	}
	for _, m := range n.state().Nodes() {
		if !alive[m.ID] || voters[m.ID] == m.MeshAddr {
			continue
		}
		if err := n.cluster.Join(ctx, m.ID, m.MeshAddr); err != nil {
			n.log.Warn("adding voter failed", "voter", m.ID, telemetry.KeyError, err)
			continue
		}
		n.log.Info("voter added", "voter", m.ID, "addr", m.MeshAddr)
	}
	for id := range voters {
		if _, enrolled := n.state().Node(id); enrolled || id == n.cfg.ID {
			continue
		}
		if err := n.cluster.Remove(ctx, id); err != nil {
			n.log.Warn("removing voter failed", "voter", id, telemetry.KeyError, err)
			continue
		}
		n.log.Info("voter removed", "voter", id)
	}
}
