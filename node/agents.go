package node

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/regions/gossip"
	"redflag/telemetry"
)

// meshCallTimeout bounds a question to another node. A listing is better with
// one node's soft state missing than late.
const meshCallTimeout = time.Second

func (n *Node) listAgents(r *http.Request) (any, error) {
	q := r.URL.Query()
	limit, err := pageLimit(r)
	if err != nil {
		return nil, err
	}
	match := func(*api.Agent) bool { return true }
	if terms := q["select"]; len(terms) > 0 {
		selector, err := api.ParseSelector(terms...)
		if err != nil {
			return nil, err
		}
		match = selector.Matches
	}
	agents := n.state().Agents(q.Get("after"), limit, match)
	ids := make([]string, len(agents))
	for i := range agents {
		ids[i] = agents[i].ID
	}
	seen := n.presenceEverywhere(r.Context(), presenceQuery{Agents: ids})
	for i := range agents {
		agents[i].Presence = seen[agents[i].ID]
	}
	return newPage(agents, limit, func(a api.Agent) string { return a.ID }), nil
}

func (n *Node) showAgent(r *http.Request) (any, error) {
	id := r.PathValue("id")
	a, ok := n.state().Agent(id)
	if !ok {
		return nil, api.Errorf(api.CodeNotFound, "there is no agent %q", id).WithHint("redflag agents")
	}
	a.Presence = n.presenceEverywhere(r.Context(), presenceQuery{Agents: []string{id}})[id]
	if inv, ok := n.state().Inventory(id); ok {
		a.Inventory = inv
	}
	return a, nil
}

// presenceQuery names agents, or the rollout whose running agents are wanted.
type presenceQuery struct {
	Agents  []string `json:"agents,omitempty"`
	Rollout string   `json:"rollout,omitempty"`
}

// presenceHere answers from this node's own soft state.
func (n *Node) presenceHere(q presenceQuery) map[string]*api.Presence {
	if q.Rollout == "" {
		return n.presence.get(append([]string{}, q.Agents...)) // nil would be all
	}
	all := n.presence.get(nil)
	for id, p := range all {
		busy := slices.ContainsFunc(p.Progress, func(pr api.Progress) bool {
			rollout, _, _ := api.SplitCommandID(pr.CommandID)
			return rollout == q.Rollout
		})
		if !busy {
			delete(all, id)
		}
	}
	return all
}

// meshPresence answers another node.
func (n *Node) meshPresence(r *http.Request) (any, error) {
	var q presenceQuery
	if err := body(r, &q); err != nil {
		return nil, err
	}
	return n.presenceHere(q), nil
}

// presenceEverywhere asks every living node at once; a silent one is left out.
func (n *Node) presenceEverywhere(ctx context.Context, q presenceQuery) map[string]*api.Presence {
	merged := n.presenceHere(q)
	if q.Rollout == "" && len(q.Agents) == 0 {
		return merged
	}
	var mu sync.Mutex
	n.eachOther(ctx, func(ctx context.Context, m gossip.Member) {
		var theirs map[string]*api.Presence
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodPost, "/v1/mesh/presence", q, &theirs); err != nil {
			n.log.Debug("presence not answered", "other", m.ID, "error", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		newer(merged, theirs)
	})
	return merged
}

// eachOther calls f for every other living node at once and waits for all.
func (n *Node) eachOther(ctx context.Context, f func(context.Context, gossip.Member)) {
	n.eachOtherWithin(ctx, meshCallTimeout, f)
}

func (n *Node) eachOtherWithin(ctx context.Context, limit time.Duration, f func(context.Context, gossip.Member)) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var wg sync.WaitGroup
	for _, m := range n.gossip.Members() {
		if m.Alive && m.ID != n.cfg.ID {
			wg.Go(func() { f(ctx, m) })
		}
	}
	wg.Wait()
}

func (n *Node) meshClient(addr string) *api.Client {
	return &api.Client{Servers: []string{"https://" + addr}, HTTP: n.meshHTTP}
}

// labelAgent changes what selectors see of an agent. Labels say who gets what
// and who may act on whom, so it is for admins.
func (n *Node) labelAgent(r *http.Request) (any, error) {
	id := r.PathValue("id")
	var req api.LabelRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if len(req.Set) == 0 && len(req.Remove) == 0 {
		return nil, api.Errorf(api.CodeInvalid, "no label was given").WithHint("redflag agents label ID KEY=VALUE KEY-")
	}
	if _, err := n.propose(r.Context(), state.TypeLabelAgent, state.LabelAgent{AgentID: id, Set: req.Set, Remove: req.Remove}); err != nil {
		return nil, err
	}
	agent, _ := n.state().Agent(id)
	telemetry.For(r.Context(), n.log).Info("agent labelled", telemetry.KeyAgent, id)
	return agent, nil
}
