package node

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
)

const (
	// poolEvery is how often the leader looks for tasks whose agent is silent.
	poolEvery = time.Second
	// maxPoolAttempts bounds how many agents a task is given to.
	maxPoolAttempts = 10
)

// pool returns the members of the pool in the order in which they would be
// chosen for work near region.
func (n *Node) pool(ctx context.Context, region string) (api.Pool, error) {
	s := n.state().Settings()
	p := api.Pool{
		Policy: s.Get(api.SettingPoolPolicy), Selector: s.Get(api.SettingPoolMembers),
		Lease: api.Duration(s.Duration(api.SettingPoolLease)), Members: []api.PoolMember{},
	}
	selector, err := api.ParseSelector(strings.Fields(p.Selector)...)
	if err != nil {
		return p, err
	}
	ids := []string{}
	n.state().EachAgent(func(a *api.Agent) {
		if selector.Matches(a) && a.RevokedAt.IsZero() {
			ids = append(ids, a.ID)
			p.Members = append(p.Members, api.PoolMember{Agent: a.ID, Region: a.Region})
		}
	})
	seen := n.presenceEverywhere(ctx, presenceQuery{Agents: ids})
	for i := range p.Members {
		m := &p.Members[i]
		m.Unfit = unfit(seen[m.Agent], time.Duration(p.Lease))
		if have := seen[m.Agent]; have != nil {
			m.LastPoll = have.LastPoll
			if have.Readiness != nil {
				m.Load = have.Readiness.LoadPercent
			}
		}
	}
	rankPool(p.Members, p.Policy, region)
	return p, nil
}

// unfit is why an agent cannot be given work now, or "".
func unfit(p *api.Presence, lease time.Duration) string {
	switch {
	case p == nil || time.Since(p.LastPoll) > lease:
		return "silent"
	case p.Readiness != nil && p.Readiness.Degraded != "":
		return "degraded: " + p.Readiness.Degraded
	case p.Readiness != nil && len(p.Readiness.Blocked) > 0:
		return p.Readiness.Blocked[0].Reason
	}
	return ""
}

// rankPool puts first who is fit, then who the policy prefers, then who has the
// least load.
func rankPool(members []api.PoolMember, policy, region string) {
	pinned, _ := api.PoolPinned(policy)
	rank := func(m api.PoolMember) int {
		switch {
		case m.Unfit != "":
			return 3
		case m.Agent == pinned:
			return 0
		case policy == api.PoolNearest && m.Region == region:
			return 1
		}
		return 2
	}
	load := func(m api.PoolMember) int {
		if m.Load == nil {
			return 1 << 20 // nobody knows
		}
		return *m.Load
	}
	slices.SortFunc(members, func(a, b api.PoolMember) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(load(a), load(b)), cmp.Compare(a.Agent, b.Agent))
	})
}

func (n *Node) showPool(r *http.Request) (any, error) {
	return n.pool(r.Context(), cmp.Or(r.URL.Query().Get("region"), n.cfg.Region))
}

// poolTasks lists the tasks of the pool, the newest first, by what is
// replicated: the rollouts of the agents that got each.
func (n *Node) poolTasks() []api.PoolTask {
	byID := map[string]*api.PoolTask{}
	for _, r := range n.state().Rollouts() {
		id, attempt, ok := api.SplitPoolRollout(r.ID)
		if !ok || len(r.Selector.Agents) != 1 {
			continue
		}
		t := byID[id]
		if t == nil {
			t = &api.PoolTask{ID: id}
			byID[id] = t
		}
		if attempt == 1 {
			t.CreatedAt = r.CreatedAt
		}
		if attempt > t.Attempts {
			t.Attempts, t.Rollout, t.Agent, t.State = attempt, r.ID, r.Selector.Agents[0], r.State
			t.Kind, t.Artifact, t.Version = r.Kind, r.Artifact, r.Version
		}
	}
	out := make([]api.PoolTask, 0, len(byID))
	for _, t := range byID {
		if c, ok := n.state().Command(api.CommandID(t.Rollout, t.Agent)); ok {
			t.Outcome = c.State
		}
		out = append(out, *t)
	}
	slices.SortFunc(out, newerTask)
	return out
}

func newerTask(a, b api.PoolTask) int {
	return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// listPoolTasks pages by when a task was created, and by its id.
func (n *Node) listPoolTasks(r *http.Request) (any, error) {
	limit, err := pageLimit(r)
	if err != nil {
		return nil, err
	}
	tasks := n.poolTasks()
	if after := r.URL.Query().Get("after"); after != "" {
		at, id, _ := strings.Cut(after, "/")
		created, err := time.Parse(time.RFC3339Nano, at)
		if err != nil || !api.ValidID(id) {
			return nil, notACursor(after)
		}
		last := api.PoolTask{ID: id, CreatedAt: created}
		tasks = slices.DeleteFunc(tasks, func(t api.PoolTask) bool { return newerTask(t, last) <= 0 })
	}
	return newPage(tasks[:min(limit, len(tasks))], limit, func(t api.PoolTask) string {
		return t.CreatedAt.UTC().Format(time.RFC3339Nano) + "/" + t.ID
	}), nil
}

func (n *Node) poolTask(id string) (api.PoolTask, bool) {
	for _, t := range n.poolTasks() {
		if t.ID == id {
			return t, true
		}
	}
	return api.PoolTask{}, false
}

// createPoolTask gives an operation to the agent that the policy chooses.
func (n *Node) createPoolTask(r *http.Request) (any, error) {
	var req api.PoolTaskRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if t, ok := n.poolTask(req.ID); ok {
		if t.Kind != req.Kind || t.Artifact != req.Artifact || t.Version != req.Version {
			return nil, api.Errorf(api.CodeConflict, "task %s exists with other content", req.ID)
		}
		return t, nil
	}
	task := api.PoolTask{ID: req.ID, Kind: req.Kind, Artifact: req.Artifact, Version: req.Version}
	if err := n.assign(r.Context(), task, cmp.Or(req.Region, n.cfg.Region), nil); err != nil {
		return nil, err
	}
	t, _ := n.poolTask(req.ID)
	return t, nil
}

// assign hands a task to the first fit agent that has not been tried.
func (n *Node) assign(ctx context.Context, t api.PoolTask, region string, tried []string) error {
	p, err := n.pool(ctx, region)
	if err != nil {
		return err
	}
	for _, m := range p.Members {
		if m.Unfit != "" || slices.Contains(tried, m.Agent) {
			continue
		}
		entry := state.CreateRollout{
			ID: api.PoolRollout(t.ID, t.Attempts+1), Kind: t.Kind, Artifact: t.Artifact, Version: t.Version,
			Selector: api.Selector{Agents: []string{m.Agent}},
		}
		if entry.Selector, err = entry.Selector.Within(operatorOf(ctx).Scope); err != nil {
			return err
		}
		_, err := n.addRollout(ctx, entry, api.Plan{})
		return err
	}
	return api.Errorf(api.CodeUnavailable, "no agent of the pool can take the task now").
		WithHint("redflag pools shows why; redflag settings set pool.members=… says who is in it")
}

// mindPool gives the tasks of silent agents to others, while this node leads.
func (n *Node) mindPool(ctx context.Context) {
	heard := poolHearing{since: time.Now(), of: map[string]heardAgent{}}
	ticker := time.NewTicker(poolEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		n.failOver(ctx, &heard)
	}
}

// poolHearing is when a leader heard of the agents that have tasks, by its own
// clock: those of other nodes may be wrong. It outlasts a node that does not
// answer once, or forgets whom it has seen because it starts anew.
type poolHearing struct {
	since time.Time // it leads
	of    map[string]heardAgent
}

type heardAgent struct {
	poll time.Time // as its node says
	at   time.Time // when that was new
}

// note takes what nodes say of agents, and forgets all others.
func (h *poolHearing) note(agents []string, seen map[string]*api.Presence, now time.Time) {
	next := map[string]heardAgent{}
	for _, id := range agents {
		known := h.of[id]
		if p := seen[id]; p != nil && (!p.LastPoll.Equal(known.poll) || p.LastPoll.After(now)) {
			known = heardAgent{p.LastPoll, now}
		}
		next[id] = known
	}
	h.of = next
}

// last is when an agent was heard of.
func (h *poolHearing) last(agent string) time.Time {
	if at := h.of[agent].at; at.After(h.since) {
		return at
	}
	return h.since
}

// failOver looks at every open task once. The next agent gets the task before
// it is taken from the silent one: a leader that dies in between leaves both,
// and the next leader withdraws the first.
func (n *Node) failOver(ctx context.Context, hearing *poolHearing) {
	lease := n.state().Settings().Duration(api.SettingPoolLease)
	tasks := n.poolTasks()
	var busy []string
	for _, t := range tasks {
		if !t.State.Ended() {
			busy = append(busy, t.Agent)
		}
	}
	hearing.note(busy, n.presenceEverywhere(ctx, presenceQuery{Agents: busy}), time.Now())
	for _, t := range tasks {
		tried := n.withdrawn(ctx, t)
		if t.State.Ended() || t.Attempts >= maxPoolAttempts {
			continue
		}
		heard := hearing.last(t.Agent)
		if r, ok := n.state().Rollout(t.Rollout); ok && r.CreatedAt.After(heard) {
			heard = r.CreatedAt
		}
		if time.Since(heard) <= lease {
			continue
		}
		a, _ := n.state().Agent(t.Agent)
		log := n.log.With("task", t.ID, "from", t.Agent)
		if err := n.assign(ctx, t, a.Region, append(tried, t.Agent)); err != nil {
			log.Debug("task of a silent agent stays", telemetry.KeyError, err)
			continue
		}
		log.Info("task of a silent agent given to another", "attempt", t.Attempts+1)
	}
}

// withdrawn cancels what earlier agents of a task still have, and names them.
func (n *Node) withdrawn(ctx context.Context, t api.PoolTask) (agents []string) {
	for i := 1; i < t.Attempts; i++ {
		r, ok := n.state().Rollout(api.PoolRollout(t.ID, i))
		if !ok {
			continue
		}
		agents = append(agents, r.Selector.Agents...)
		if r.State.Ended() {
			continue
		}
		if _, err := n.propose(ctx, state.TypeCancelRollout, state.CancelRollout{ID: r.ID}); err != nil {
			n.log.Warn("task of a silent agent not withdrawn", "rollout", r.ID, telemetry.KeyError, err)
		}
	}
	return agents
}
