package node

import (
	"context"
	"io"
	"net/http"

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
// it out of the Raft configuration, and no route lets it in any more.
func (n *Node) removeNode(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if _, ok := n.state().Node(id); !ok {
		return nil, api.Errorf(api.CodeNotFound, "there is no node %q", id).WithHint("redflag nodes")
	}
	for _, m := range n.nodes() {
		if m.ID == id && m.Alive {
			return nil, api.Errorf(api.CodeConflict, "node %s is alive", id).WithHint("stop it first")
		}
	}
	if _, err := n.propose(r.Context(), state.TypeRemoveNode, state.RemoveNode{ID: id}); err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("node removed", "removed", id)
	return nil, nil
}

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
