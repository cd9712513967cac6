package node

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/regions/gossip"
)

// minDiskFree is what must stay free for the log and the state, in bytes.
const minDiskFree = 256 << 20

func (n *Node) publicHealth(*http.Request) (any, error) {
	h := n.health()
	if h.Status == api.StatusCritical {
		return nil, api.Errorf(api.CodeUnavailable, "node %s is not able to serve", n.cfg.ID).
			WithHint("redflag health tells operators why")
	}
	return api.PublicHealth{Status: h.Status, Version: n.cfg.Version}, nil
}

// ownHealth tells a load balancer whether to send callers here, and an
// operator why.
func (n *Node) ownHealth(r *http.Request) (any, error) {
	if r.Header.Get("Authorization") == "" {
		return n.publicHealth(r)
	}
	return n.asOperator(n.fullHealth)(r)
}

func (n *Node) fullHealth(*http.Request) (any, error) { return n.health(), nil }

// clusterHealth asks every node for its own view. A node that is known and
// silent is reported as such.
func (n *Node) clusterHealth(r *http.Request) (any, error) {
	all := []api.Health{n.health()}
	var mu sync.Mutex
	n.eachOther(r.Context(), func(ctx context.Context, m gossip.Member) {
		var h api.Health
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodGet, "/v1/mesh/health", nil, &h); err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, h)
	})
	for _, m := range n.state().Nodes() {
		if !slices.ContainsFunc(all, func(h api.Health) bool { return h.Node == m.ID }) {
			all = append(all, api.Health{
				Node: m.ID, Region: m.Region, Status: api.StatusCritical,
				Checks: []api.Check{{
					Name: "reachable", Status: api.StatusCritical, Detail: "does not answer at " + m.MeshAddr,
					Advice: "start it again, or remove it for good with: redflag nodes remove " + m.ID,
				}},
			})
		}
	}
	slices.SortFunc(all, func(a, b api.Health) int { return cmp.Compare(a.Node, b.Node) })
	return all, nil
}

// health runs the checks that need nobody else.
func (n *Node) health() api.Health {
	st := n.cluster.Status()
	free, total, diskErr := diskSpace(n.cfg.DataDir)
	peers := n.nodes()
	cluster, _ := n.state().Cluster()
	h := api.Health{
		Node: n.cfg.ID, Region: n.cfg.Region, ClusterID: cluster.ID, Version: n.cfg.Version,
		StartedAt: n.startedAt, RaftState: st.State, Term: st.Term, Leader: st.LeaderID,
		CommitIndex: st.CommitIndex, AppliedIndex: st.AppliedIndex, Voters: len(st.Voters),
		Peers: peers, DiskFree: free, DiskTotal: total, Seeding: n.swarm.Complete(), WANBytes: n.payloads.wanBytes(),
	}
	h.Checks = []api.Check{n.checkRaft(st.LeaderID), checkPeers(peers), checkDisk(free, diskErr)}
	h.Status = api.StatusOK
	for _, c := range h.Checks {
		h.Status = h.Status.Worse(c.Status)
	}
	return h
}

func (n *Node) checkRaft(leader string) api.Check {
	c := api.Check{Name: "raft", Status: api.StatusOK}
	stale := n.cluster.Stale()
	switch {
	case leader == "":
		c.Status, c.Detail = api.StatusCritical, "no leader is known"
		c.Advice = "a majority of the voters must run and reach each other: see redflag nodes"
	case stale > maxStale:
		c.Status, c.Detail = api.StatusCritical, silence(stale)
		c.Advice = "check the network between this node and " + leader
	default:
		c.Detail = "the leader is " + leader
	}
	return c
}

// silence says how long no leader was heard; before the first time Stale is
// longer than any process lives.
func silence(stale time.Duration) string {
	if stale > 100*365*24*time.Hour {
		return "has not heard a leader since it started"
	}
	return fmt.Sprintf("has heard no leader for %s", stale.Round(time.Second))
}

func checkPeers(peers []api.Node) api.Check {
	c := api.Check{Name: "gossip", Status: api.StatusOK, Detail: fmt.Sprintf("%d nodes are alive", len(peers))}
	for _, p := range peers {
		if !p.Alive {
			c.Status = api.StatusWarn
			c.Detail = "node " + p.ID + " does not answer"
			c.Advice = "start it again, or remove it for good with: redflag nodes remove " + p.ID
		}
	}
	return c
}

func checkDisk(free int64, err error) api.Check {
	c := api.Check{Name: "disk", Status: api.StatusOK, Detail: api.Bytes(free).String() + " free"}
	switch {
	case err != nil:
		c.Status, c.Detail = api.StatusWarn, "free space cannot be read: "+err.Error()
		c.Advice = "check the data directory and its file system"
	case free < minDiskFree:
		c.Status = api.StatusCritical
		c.Advice = "free disk: the replicated log must be able to grow"
	case free < 4*minDiskFree:
		c.Status = api.StatusWarn
		c.Advice = "free disk, or move the data directory to a larger one"
	}
	return c
}
