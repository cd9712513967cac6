package node

import (
	"net/http"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
)

func (n *Node) listCommands(r *http.Request) (any, error) {
	filter, err := commandFilter(r)
	if err != nil {
		return nil, err
	}
	limit, err := pageLimit(r)
	if err != nil {
		return nil, err
	}
	after := r.URL.Query().Get("after")
	if before, archived, err := archiveCursor(after); archived {
		if err != nil {
			return nil, err
		}
		items, next, err := n.archived(r.Context(), archiveQuery{Filter: filter, Before: before, Limit: limit})
		return page[api.Command]{Items: append([]api.Command{}, items...), Next: next}, err
	}
	items := n.state().Commands(filter, after, limit)
	n.addSoftState(r, items)
	p := newPage(items, limit, func(c api.Command) string { return c.ID })
	if p.Next == "" {
		p.Next = archivePrefix + "0" // what the state has trimmed comes after what it has
	}
	return p, nil
}

func commandFilter(r *http.Request) (api.CommandList, error) {
	q := r.URL.Query()
	f := api.CommandList{
		Rollout: q.Get("rollout"), Agent: q.Get("agent"), Artifact: q.Get("artifact"),
		Correlation: q.Get("correlation"), State: api.State(q.Get("state")),
		Class: api.ErrorClass(q.Get("class")),
	}
	if f.State != "" && f.State.Rank() < 0 {
		return f, api.Errorf(api.CodeInvalid, "state %.32q is not known", string(f.State)).WithHint("use one of %v", api.States)
	}
	for name, into := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if v := q.Get(name); v != "" {
			at, err := time.Parse(time.RFC3339, v)
			if err != nil {
				return f, api.Errorf(api.CodeInvalid, "%s %.64q is not a time", name, v).WithHint("write it as 2026-03-01T12:00:00Z")
			}
			*into = at
		}
	}
	return f, nil
}

func (n *Node) showCommand(r *http.Request) (any, error) {
	c, err := n.command(r.PathValue("id"))
	if err != nil || c.Archived {
		old, ok := n.fromArchive(r.Context(), r.PathValue("id"))
		if ok {
			c, err = old, nil
		}
	}
	if err != nil {
		return nil, err
	}
	one := []api.Command{c}
	n.addSoftState(r, one)
	return api.CommandDetail{Command: one[0], Timeline: one[0].Timeline()}, nil
}

func (n *Node) command(id string) (api.Command, error) {
	c, ok := n.state().Command(id)
	if !ok {
		return c, api.Errorf(api.CodeNotFound, "there is no command %.300q", id).WithHint("redflag commands list")
	}
	return c, nil
}

func (n *Node) cancelCommand(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if _, err := n.propose(r.Context(), state.TypeCancelCommand, state.CancelCommand{CommandID: id}); err != nil {
		return nil, err
	}
	telemetry.For(n.commandContext(r.Context(), id), n.log).Info("command cancel requested", telemetry.KeyCommand, id)
	return n.command(id)
}

// retryCommand repeats a command as a rollout to its agent alone, under the
// windows, gates and bounds of the first one.
func (n *Node) retryCommand(r *http.Request) (any, error) {
	var req api.RetryRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	c, err := n.command(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	of, err := n.rollout(c.RolloutID)
	if err != nil {
		return nil, err
	}
	plan := of.Plan
	plan.Waves, plan.RegionOrder, plan.Dynamic = nil, nil, false
	return n.addRollout(r.Context(), state.CreateRollout{
		ID: req.ID, Kind: c.Kind, Artifact: c.Artifact, Version: c.Version,
		Selector: api.Selector{Agents: []string{c.AgentID}}, RetryOf: c.ID,
	}, plan)
}

// addSoftState fills in what the last polls said: how far running commands
// are, and why others are not handed out.
func (n *Node) addSoftState(r *http.Request, commands []api.Command) {
	open := map[string]*api.Command{}
	var agents []string
	for i := range commands {
		if !commands[i].State.Terminal() {
			open[commands[i].ID] = &commands[i]
			agents = append(agents, commands[i].AgentID)
		}
	}
	if len(agents) == 0 {
		return
	}
	seen := n.presenceEverywhere(r.Context(), presenceQuery{Agents: agents})
	for _, c := range open {
		p := seen[c.AgentID]
		if p == nil {
			c.Waiting = "no node has heard of the agent since it started"
			continue
		}
		for _, w := range p.Waiting {
			if w.CommandID == c.ID && c.State == api.StatePending {
				c.Waiting = w.Reason
			}
		}
		for _, progress := range p.Progress {
			if progress.CommandID == c.ID && c.State == api.StateRunning {
				c.Phase, c.Transfer = progress.Phase, &progress.Transfer
			}
		}
	}
}
