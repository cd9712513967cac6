package node

import (
	"net/http"
	"strconv"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
)

// Listings answer defaultPage rows unless asked for another number.
const (
	defaultPage = 100
	maxPage     = 1000
)

func (n *Node) listRollouts(*http.Request) (any, error) { return n.state().Rollouts(), nil }

func (n *Node) createRollout(r *http.Request) (any, error) {
	var req api.CreateRolloutRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	res, err := n.propose(r.Context(), state.TypeCreateRollout, state.CreateRollout{
		ID: req.ID, Kind: req.Kind, Artifact: req.Artifact, Version: req.Version, Selector: req.Selector,
		CorrelationID: api.Correlation(r.Context()), CreatedBy: "operator",
	})
	if err != nil {
		return nil, err
	}
	rollout, err := n.rollout(req.ID)
	if err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("rollout created", "rollout", req.ID, "kind", string(req.Kind),
		"artifact", req.Artifact, "version", req.Version, "agents", rollout.Agents, "index", res.Index)
	return rollout, nil
}

func (n *Node) rollout(id string) (api.Rollout, error) {
	rollout, ok := n.state().Rollout(id)
	if !ok {
		return rollout, api.Errorf(api.CodeNotFound, "there is no rollout %q", id).WithHint("redflag rollout list")
	}
	return rollout, nil
}

// showRollout adds what the last polls said of running commands to what is
// replicated.
func (n *Node) showRollout(r *http.Request) (any, error) {
	rollout, err := n.rollout(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	byRegion := map[string]*api.Transfer{}
	for i := range rollout.Regions {
		byRegion[rollout.Regions[i].Region] = &rollout.Regions[i].Transfer
	}
	for _, p := range n.presenceEverywhere(r.Context(), presenceQuery{Rollout: rollout.ID}) {
		for _, progress := range p.Progress {
			c, ok := n.state().Command(progress.CommandID)
			if !ok || c.RolloutID != rollout.ID || c.State.Terminal() {
				continue
			}
			addTransfer(&rollout.Transfer, progress.Transfer)
			if t := byRegion[c.Region]; t != nil {
				addTransfer(t, progress.Transfer)
			}
		}
	}
	return rollout, nil
}

func addTransfer(sum *api.Transfer, t api.Transfer) {
	sum.FromPeers += t.FromPeers
	sum.FromNodes += t.FromNodes
	sum.ToPeers += t.ToPeers
	sum.Total += t.Total
	sum.Done += t.Done
	sum.FromOtherRegions += t.FromOtherRegions
}

func (n *Node) cancelRollout(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if _, err := n.propose(r.Context(), state.TypeCancelRollout, state.CancelRollout{ID: id}); err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("rollout cancelled", "rollout", id)
	return n.rollout(id)
}

// page is a listing with the cursor of its next page.
type page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// newPage makes a page of items. A full one may have a next.
func newPage[T any](items []T, limit int, id func(T) string) page[T] {
	p := page[T]{Items: items}
	if len(items) == limit {
		p.Next = id(items[limit-1])
	}
	if p.Items == nil {
		p.Items = []T{}
	}
	return p
}

func (n *Node) listCommands(r *http.Request) (any, error) {
	q := r.URL.Query()
	filter := state.CommandFilter{Rollout: q.Get("rollout"), Agent: q.Get("agent"), State: api.State(q.Get("state"))}
	if filter.State != "" && filter.State.Rank() < 0 {
		return nil, api.Errorf(api.CodeInvalid, "state %q is not known", filter.State).WithHint("use one of %v", api.States)
	}
	limit, err := pageLimit(r)
	if err != nil {
		return nil, err
	}
	items := n.state().Commands(filter, q.Get("after"), limit)
	n.addProgress(r, items)
	return newPage(items, limit, func(c api.Command) string { return c.ID }), nil
}

func (n *Node) showCommand(r *http.Request) (any, error) {
	c, ok := n.state().Command(r.PathValue("id"))
	if !ok {
		return nil, api.Errorf(api.CodeNotFound, "there is no command %q", r.PathValue("id")).WithHint("redflag commands")
	}
	one := []api.Command{c}
	n.addProgress(r, one)
	return one[0], nil
}

// addProgress fills in the soft state of commands that are running.
func (n *Node) addProgress(r *http.Request, commands []api.Command) {
	running := map[string]*api.Command{}
	var agents []string
	for i := range commands {
		if commands[i].State == api.StateRunning {
			running[commands[i].ID] = &commands[i]
			agents = append(agents, commands[i].AgentID)
		}
	}
	if len(agents) == 0 {
		return
	}
	for _, p := range n.presenceEverywhere(r.Context(), presenceQuery{Agents: agents}) {
		for _, progress := range p.Progress {
			if c, ok := running[progress.CommandID]; ok {
				c.Phase, c.Transfer = progress.Phase, &progress.Transfer
			}
		}
	}
}

func pageLimit(r *http.Request) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return defaultPage, nil
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < 1 || v > maxPage {
		return 0, api.Errorf(api.CodeInvalid, "limit %q is out of range", s).WithHint("use 1 to %d", maxPage)
	}
	return v, nil
}
