package node

import (
	"context"
	"io"
	"net/http"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/regions/gossip"
	"redflag/telemetry"
)

// nodes joins what is replicated with what gossip and Raft know right now.
func (n *Node) nodes() []api.Node {
	alive := map[string]gossip.Member{}
	for _, m := range n.gossip.Members() {
		if m.Alive {
			alive[m.ID] = m
		}
	}
	st := n.cluster.Status()
	out := n.state().Nodes()
	for i := range out {
		if m, ok := alive[out[i].ID]; ok { // it may have moved since it enrolled
			out[i].Alive, out[i].Version, out[i].MeshAddr = true, m.Version, m.MeshAddr
			out[i].Load, out[i].RTT = m.Load, api.Duration(m.RTT)
		}
		out[i].Leader = out[i].ID == st.LeaderID
		for _, v := range st.Voters {
			out[i].Voter = out[i].Voter || v.ID == out[i].ID
		}
	}
	return out
}

func (n *Node) listNodes(*http.Request) (any, error) { return n.nodes(), nil }

// removeNode takes a node out of the cluster for good. The leader then takes
// it out of the Raft configuration, and no route lets it in any more. A stolen
// node runs on: it is shut out while it does.
func (n *Node) removeNode(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if _, ok := n.state().Node(id); !ok {
		return nil, api.Errorf(api.CodeNotFound, "there is no node %q", id).WithHint("redflag nodes")
	}
	stolen := r.URL.Query().Get("stolen") == "true"
	for _, m := range n.nodes() {
		if m.ID == id && m.Alive && !stolen {
			return nil, api.Errorf(api.CodeConflict, "node %s is alive", id).
				WithHint("stop it first; if somebody else has it: redflag nodes remove %s --stolen", id)
		}
	}
	if _, err := n.propose(r.Context(), state.TypeRemoveNode, state.RemoveNode{ID: id}); err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("node removed", "removed", id)
	return nil, nil
}

// moveNode takes the address of a node that came back elsewhere. The caller
// moves itself alone: its certificate says who it is.
func (n *Node) moveNode(r *http.Request) (any, error) {
	var req api.NodeAddr
	if err := body(r, &req); err != nil {
		return nil, err
	}
	id := identity(r.Context())
	known, ok := n.state().Node(id.ID)
	if !ok || req.ID != id.ID {
		return nil, api.Errorf(api.CodeDenied, "node %s may not move node %s", id.ID, req.ID)
	}
	if known.MeshAddr == req.Addr && known.NonVoter == req.NonVoter {
		return nil, nil
	}
	known.MeshAddr, known.NonVoter = req.Addr, req.NonVoter
	if _, err := n.propose(r.Context(), state.TypePutNode, state.PutNode{Node: known}); err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("node moved", "moved", id.ID, "addr", req.Addr, "non_voter", req.NonVoter)
	return nil, nil
}

// announceAddress tells the cluster where this node is, if that is not what
// the replicated state says: the leader cannot reach it there, so it cannot
// wait to be asked. Any node that is reached passes it on.
func (n *Node) announceAddress(ctx context.Context) error {
	for wait := time.Duration(0); ; wait = time.Second {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		self, ok := n.state().Node(n.cfg.ID)
		if ok && self.MeshAddr == n.meshAddr && self.NonVoter == n.cfg.NonVoter {
			return nil
		}
		others := n.knownAddresses(func(id string) bool { return id != n.cfg.ID })
		if len(others) == 0 {
			others = n.firstPeers()
		}
		if err := n.announceTo(api.WithCorrelation(ctx, ""), others); err != nil {
			n.log.Debug("address not announced", telemetry.KeyError, err)
		}
	}
}

func (n *Node) announceTo(ctx context.Context, addrs []string) error {
	client := &api.Client{HTTP: n.meshHTTP, Timeout: meshCallTimeout}
	for _, addr := range addrs {
		client.Servers = append(client.Servers, "https://"+addr)
	}
	here := api.NodeAddr{ID: n.cfg.ID, Region: n.cfg.Region, Addr: n.meshAddr, NonVoter: n.cfg.NonVoter}
	return client.Do(ctx, http.MethodPut, "/v1/mesh/address", here, nil)
}

// tellLoad keeps the other nodes informed of how busy this one is.
func (n *Node) tellLoad(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(loadEvery):
		}
		if err := n.gossip.SetLoad(n.pace.load(n.pollBudget())); err != nil {
			n.log.Warn("load not told", telemetry.KeyError, err)
		}
	}
}

// loadEvery is how often a node looks at its load.
const loadEvery = 5 * time.Second

// pathPropose is where a follower sends a change to the leader.
const pathPropose = "/v1/mesh/propose"

// forwarded takes a proposal that another node passes on.
func (n *Node) forwarded(r *http.Request) (any, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	out, err := n.cluster.HandleForward(r.Context(), b)
	if err != nil {
		return nil, err
	}
	return rawAnswer{contentType: "application/cbor", body: out}, nil
}

// forward carries a proposal to the leader.
func (n *Node) forward(ctx context.Context, _, leaderAddr string, proposal []byte) ([]byte, error) {
	return n.meshClient(leaderAddr).Exchange(ctx, pathPropose, "application/cbor", proposal, api.MaxBody)
}
