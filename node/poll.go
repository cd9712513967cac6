package node

import (
	"context"
	"net/http"
	"slices"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/regions"
	"redflag/telemetry"
)

const (
	// maxCommands is how many commands one reply hands out.
	maxCommands = 8
	// maxCancels is how many commands one reply asks to cancel.
	maxCancels = 64
	// maxListed bounds each list in a poll but the reports, which have a bound
	// of their own.
	maxListed = 1000
	// maxReadinessText bounds each text of a machine's readiness, in bytes.
	maxReadinessText = 512
	// leaseTime is what operators see as the end of a lease. A command that
	// got lost with a reply is handed out again as soon as the agent polls
	// without holding it.
	leaseTime = 2 * time.Minute
	// catchUpWait is how long a poll waits for this node to reach the index
	// that the agent has already seen elsewhere.
	catchUpWait = time.Second
	// maxStale is how long this node may have heard no tick of a leader before
	// it sends agents to another one.
	maxStale = 30 * time.Second
)

// poll is the whole conversation with an agent: its reports come in, its
// commands go out. Reports are acknowledged and commands handed out only once
// that is committed.
func (n *Node) poll(r *http.Request) (any, error) {
	ctx, id := r.Context(), identity(r.Context())
	if r.PathValue("id") != id.ID {
		return nil, api.Errorf(api.CodeDenied, "agent %s may not poll for %s", id.ID, r.PathValue("id"))
	}
	budget := n.pollBudget()
	if err := n.pace.admit(budget); err != nil {
		return nil, err
	}
	var req api.PollRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := checkPoll(id.ID, &req); err != nil {
		return nil, err
	}
	if err := n.caughtUp(ctx, req.LastIndex); err != nil {
		return nil, err
	}
	if req.Machine.Validate() != nil {
		req.Machine = api.Machine{} // it is shown, and nothing hangs on it
	}
	seen := &api.Presence{
		AgentID: id.ID, Node: n.cfg.ID, LastPoll: time.Now().UTC(), Activity: req.Activity,
		Version: req.AgentVersion, Installed: req.Installed, Progress: req.Progress, Readiness: req.Readiness, Machine: req.Machine,
	}
	resp := api.PollResponse{Nodes: n.nodesFor(id.Region), Now: seen.LastPoll}
	self, confirmed, _ := n.state().Member(id.ID)
	if err := n.tellTrust(r, &self, confirmed, &req, &resp); err != nil {
		return nil, err // a copy of an agent's disk is not seen in its place
	}
	defer func() { n.presence.put(seen) }()
	n.swarms.take(id, slices.DeleteFunc(req.Swarms, func(m api.SwarmMember) bool { return !n.payloads.knows(m.InfoHash) }), seen.LastPoll)
	if err := n.takeReports(ctx, id.ID, req.Reports, &resp); err != nil {
		return nil, err
	}
	settings := n.state().SettingsFor(self.Target())
	due, waiting := n.state().Due(id.ID, req.Held, seen.LastPoll, n.gate(&req, settings, seen.LastPoll), maxCommands)
	seen.Waiting = waiting
	if err := n.handOut(ctx, id.ID, due, &resp); err != nil {
		return nil, err
	}
	resp.Cancel = n.state().Cancels(id.ID, maxCancels)
	if err := n.signOrders(&resp); err != nil {
		return nil, err
	}
	if settings.Version != req.SettingsVersion || req.SettingsVersion == 0 {
		mine := api.NewAgentSettings(settings)
		resp.Settings = &mine
	}
	resp.NextPoll = n.pace.next(id.ID, settings, budget, req.Activity, len(resp.Commands) > 0, len(waiting) > 0, seen.LastPoll)
	resp.Index = n.state().Applied()
	return resp, nil
}

// checkPoll bounds what this node remembers of one agent.
func checkPoll(agentID string, req *api.PollRequest) error {
	for _, list := range []struct {
		name       string
		have, most int
	}{
		{"reports", len(req.Reports), api.MaxReports},
		{"commands in progress", len(req.Progress), maxListed},
		{"held commands", len(req.Held), maxListed},
		{"installed artifacts", len(req.Installed), maxListed},
		{"incidents", len(req.Incidents), api.MaxIncidents},
		{"swarms", len(req.Swarms), api.MaxSwarms},
	} {
		if list.have > list.most {
			return api.Errorf(api.CodeInvalid, "%d %s are too many", list.have, list.name).WithHint("send %d at most", list.most)
		}
	}
	if r := req.Readiness; r != nil {
		if len(r.Blocked) > api.MaxBlocked || len(r.Degraded) > maxReadinessText {
			return api.Errorf(api.CodeInvalid, "the readiness is too long")
		}
		for _, b := range r.Blocked {
			if len(b.Gate)+len(b.Reason) > maxReadinessText {
				return api.Errorf(api.CodeInvalid, "the readiness is too long")
			}
		}
	}
	for _, s := range req.Swarms {
		tooLong := func(s api.SwarmSource) bool { return len(s.ID) > maxReadinessText }
		if len(s.Sources) > api.MaxSources || slices.ContainsFunc(s.Sources, tooLong) || !validInfoHash(s.InfoHash) {
			return api.Errorf(api.CodeInvalid, "the account of a swarm is not valid")
		}
	}
	for _, p := range req.Progress {
		if _, agent, _ := api.SplitCommandID(p.CommandID); agent != agentID {
			return api.Errorf(api.CodeDenied, "command %q is not for agent %s", p.CommandID, agentID)
		}
	}
	return nil
}

// caughtUp makes reads monotonic per agent: it waits a moment for the index
// that the agent saw elsewhere, then sends it to another node.
func (n *Node) caughtUp(ctx context.Context, index uint64) error {
	if stale := n.cluster.Stale(); stale > maxStale {
		return api.Errorf(api.CodeUnavailable, "node %s %s", n.cfg.ID, silence(stale)).WithHint("ask another node")
	}
	ctx, cancel := context.WithTimeout(ctx, catchUpWait)
	defer cancel()
	for n.state().Applied() < index {
		select {
		case <-ctx.Done():
			return api.Errorf(api.CodeBehind, "node %s has not reached index %d yet", n.cfg.ID, index).WithHint("ask another node")
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

func (n *Node) takeReports(ctx context.Context, agentID string, reports []api.Report, resp *api.PollResponse) error {
	if len(reports) == 0 {
		return nil
	}
	res, err := n.cluster.Propose(ctx, state.TypeReports, state.Reports{
		Agents: []state.AgentReports{{AgentID: agentID, Reports: reports}},
	})
	if err != nil {
		return err
	}
	for i, rep := range reports {
		log := telemetry.For(n.commandContext(ctx, rep.CommandID), n.log).
			With(telemetry.KeyAgent, agentID, telemetry.KeyCommand, rep.CommandID, "state", string(rep.State), "index", res.Index)
		if i < len(res.Errors) && res.Errors[i] != nil {
			log.Warn("report refused", telemetry.KeyError, res.Errors[i].Message)
			resp.Rejected = append(resp.Rejected, api.RejectedReport{ID: rep.ID, Error: res.Errors[i]})
			continue
		}
		if rep.Failure != nil {
			log = log.With("failure", rep.Failure.String())
		}
		log.Info("report committed")
		if rep.State.Terminal() && n.export.Traces() {
			if c, ok := n.state().Command(rep.CommandID); ok {
				n.traceCommand(&c)
			}
		}
		resp.Accepted = append(resp.Accepted, rep.ID)
	}
	return nil
}

// gate keeps commands back while a window is shut or the machine is not ready.
// Those of the agent's own settings and those of the rollout must both be open.
func (n *Node) gate(req *api.PollRequest, settings api.Settings, now time.Time) state.Gate {
	own, ok := settings.Windows(api.SettingWindows)
	open := ok && api.WindowsOpen(own, now)
	return func(c *api.Command, plan *api.Plan, payload int64) string {
		if !api.WindowsOpen(plan.Windows, now) {
			return "the maintenance window is shut"
		}
		if !open && !c.Kind.Looks() {
			return "the agent's own maintenance window is shut"
		}
		return plan.Gates.Closed(req.Readiness, payload)
	}
}

// handOut leases what is due to the agent. A command whose lease was not
// committed is not handed out.
func (n *Node) handOut(ctx context.Context, agentID string, pending []api.Command, resp *api.PollResponse) error {
	if len(pending) == 0 {
		return nil
	}
	lease := state.Lease{AgentID: agentID, NodeID: n.cfg.ID, Duration: leaseTime}
	for _, c := range pending {
		lease.CommandIDs = append(lease.CommandIDs, c.ID)
	}
	res, err := n.cluster.Propose(ctx, state.TypeLease, lease)
	if err != nil {
		return err
	}
	for i, id := range lease.CommandIDs {
		if i < len(res.Errors) && res.Errors[i] != nil {
			continue // cancelled or ended meanwhile
		}
		if c, ok := n.state().Command(id); ok {
			resp.Commands = append(resp.Commands, c)
			telemetry.For(api.WithCorrelation(ctx, c.CorrelationID), n.log).Info("command handed out",
				telemetry.KeyAgent, agentID, telemetry.KeyCommand, id, "kind", string(c.Kind), "attempt", c.Attempt, "index", res.Index)
		}
	}
	return nil
}

// commandContext carries the correlation id of the operator's request that
// the command came from.
func (n *Node) commandContext(ctx context.Context, commandID string) context.Context {
	if c, ok := n.state().Command(commandID); ok {
		return api.WithCorrelation(ctx, c.CorrelationID)
	}
	return ctx
}

// nodesFor ranks the living nodes for an agent of region. A node that stands in
// for a region counts as one of it, so that all of its agents find each other
// there, and one fetches for them all.
func (n *Node) nodesFor(region string) []api.NodeAddr {
	var out []api.NodeAddr
	members := n.gossip.Members()
	standIn := n.standIn(region, members)
	for _, m := range members {
		if !m.Alive {
			continue
		}
		a := api.NodeAddr{ID: m.ID, Region: m.Region, Addr: m.MeshAddr, Load: m.Load, RTT: api.Duration(m.RTT)}
		if m.ID == standIn {
			a.Region = region
		}
		out = append(out, a)
	}
	return regions.Rank(out, region, nil)
}
