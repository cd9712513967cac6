package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/agent/install"
	"redflag/api"
	"redflag/telemetry"
)

const (
	// pollGap is the shortest time from one poll to the next, whoever asks.
	pollGap = 200 * time.Millisecond
	// pollDefault serves when a node names no time.
	pollDefault = time.Minute
	// pollLimit bounds what a node may ask for.
	pollLimit      = 24 * time.Hour
	pollRetryBase  = time.Second
	pollRetryLimit = time.Minute
	maxCommandID   = api.MaxCommandID
)

// poller asks for commands and hands in reports, for as long as it runs.
type poller struct {
	id       string // of the agent
	version  string // of the binary
	mesh     *mesh
	journal  *journal
	versions *install.Store
	executor *executor
	limits   *limits
	logs     *logShipper // nil when the log stays here
	log      hclog.Logger
	now      chan struct{} // there is something to report
	keep     func(learnt) error
	polled   chan struct{} // closed once a node has answered
	answered sync.Once
	proved   func() // called with it
	// readiness looks at the machine.
	readiness func() *api.Readiness
	swarms    func() []api.SwarmMember
	trust     *membership

	mu        sync.Mutex // of what a request is made of: a self-update makes one too
	lastIndex uint64
	settings  api.AgentSettings
	revived   time.Time // when a certificate that has not begun was renewed last
}

// reviveEvery is the least time between two such renewals.
const reviveEvery = time.Hour

// kick asks for a poll now.
func (p *poller) kick() {
	select {
	case p.now <- struct{}{}:
	default:
	}
}

// run polls until ctx ends.
func (p *poller) run(ctx context.Context) error {
	retry := backoff{base: pollRetryBase, limit: pollRetryLimit}
	for {
		wait, err := p.poll(ctx)
		kicked := p.now
		if err != nil {
			wait = max(retry.next(), retryAfter(err))
			kicked = nil // what waits to be reported waits for a node as well
			if ctx.Err() == nil {
				p.log.Warn("poll failed", telemetry.KeyError, err, "wait", wait.Round(time.Millisecond).String())
			}
		} else {
			retry.reset()
		}
		if !p.rest(ctx, wait, kicked) {
			return nil
		}
	}
}

// rest waits for the next poll and reports whether ctx is still alive.
func (p *poller) rest(ctx context.Context, d time.Duration, kicked <-chan struct{}) bool {
	if !pause(ctx, pollGap) {
		return false
	}
	t := time.NewTimer(max(0, d-pollGap))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
	case <-kicked:
	}
	return true
}

// poll makes one exchange with the best node that answers, and returns when
// the next one is due.
func (p *poller) poll(ctx context.Context) (time.Duration, error) {
	req, more, err := p.request()
	if err != nil {
		return 0, err
	}
	var resp api.PollResponse
	if !time.Now().Before(p.trust.creds.Expires()) {
		if err := p.trust.revive(ctx, p.mesh.nodes); err != nil {
			return 0, err
		}
	}
	if err := p.exchange(ctx, req, &resp); err != nil {
		// A node whose clock was ahead made a certificate that has not begun. Or this
		// machine's clock is behind, and then it would ask in vain each time.
		if p.trust.clock.now().Before(p.trust.creds.Begins()) && time.Since(p.revived) > reviveEvery {
			p.revived = time.Now()
			return 0, errors.Join(err, p.trust.revive(ctx, p.mesh.nodes))
		}
		return 0, err
	}
	p.log.Debug("poll answered", "index", resp.Index)
	p.answered.Do(func() {
		close(p.polled)
		p.proved()
	})
	if err := p.absorb(req, &resp); err != nil {
		return 0, err
	}
	if p.logs != nil {
		p.logs.after()
	}
	if more {
		p.kick()
	}
	return nextPoll(resp.NextPoll), nil
}

// exchange asks the nodes in their order until one answers.
func (p *poller) exchange(ctx context.Context, req *api.PollRequest, resp *api.PollResponse) error {
	return p.mesh.each(ctx, anyFailure, func(ctx context.Context, n api.NodeAddr, c *api.Client) error {
		ask := func(ctx context.Context) error {
			*resp = api.PollResponse{}
			return c.Do(ctx, http.MethodPost, "/v1/agents/"+p.id+"/poll", req, resp)
		}
		if len(req.Reports) > 0 {
			return ask(ctx) // it takes as long as a commit
		}
		return p.mesh.timed(ctx, n, ask)
	})
}

func nextPoll(d api.Duration) time.Duration {
	if d <= 0 {
		return pollDefault
	}
	return min(max(time.Duration(d), pollGap), pollLimit)
}

// request is the next poll, and whether more reports wait than fit into it.
func (p *poller) request() (req *api.PollRequest, more bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held, err := p.journal.held()
	if err != nil {
		return nil, false, fmt.Errorf("read journal: %w", err)
	}
	reports, err := p.journal.outbox(api.MaxReports)
	if err != nil {
		return nil, false, fmt.Errorf("read journal: %w", err)
	}
	installed, err := p.versions.Installed()
	if err != nil {
		return nil, false, err
	}
	seen, err := p.trust.seen()
	if err != nil {
		return nil, false, err
	}
	here, err := p.executor.machine()
	if err != nil { // what is signed for some machines is refused meanwhile
		p.log.Warn("own labels not read", telemetry.KeyError, err)
	}
	waiting := len(reports)
	reports = oneInventory(reports)
	activity, progress := p.executor.activity()
	readiness := p.readiness()
	if readiness.Degraded != "" && activity != api.ActivityDownloading && activity != api.ActivityInstalling {
		activity = api.ActivityDegraded
	}
	return &api.PollRequest{
		AgentVersion: p.version, Activity: activity, Installed: installed, Readiness: readiness, Machine: here,
		Held: held, Reports: reports, Progress: progress,
		LastIndex: p.lastIndex, SettingsVersion: p.settings.Version,
		Trust: seen, Incidents: p.trust.pending(), Swarms: p.swarms(),
	}, waiting == api.MaxReports || len(reports) < waiting, nil
}

// oneInventory cuts a list of reports so that an inventory goes out alone: it is
// as large as all the others together may be.
func oneInventory(reports []api.Report) []api.Report {
	for i := range reports {
		if reports[i].Inventory != nil {
			return reports[:max(i, 1)]
		}
	}
	return reports
}

// absorb makes a reply durable, then acts on it.
func (p *poller) absorb(req *api.PollRequest, resp *api.PollResponse) error {
	if err := p.journal.settle(p.settled(req, resp)); err != nil {
		return err
	}
	p.trust.told(len(req.Incidents))
	p.absorbTrust(resp)
	took, err := p.journal.accept(onMyClock(p.trust.orders(resp.Commands), resp.Now, time.Now()))
	if err != nil {
		return err
	}
	for _, id := range resp.Cancel {
		if len(id) > maxCommandID {
			continue
		}
		p.log.Info("cancel requested", telemetry.KeyCommand, id)
		if err := p.executor.cancelCommand(id); err != nil {
			return err
		}
		p.kick()
	}
	if took.fresh > 0 {
		p.executor.nudge()
	}
	for _, id := range took.replayed {
		p.trust.refused(api.Incident{Class: "replay", Command: id, Detail: "the command has ended and was reported: it does not run again"})
	}
	if took.repeats > 0 {
		p.kick() // their final reports wait again
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastIndex = max(p.lastIndex, resp.Index)
	changed := p.mesh.nodes.learn(resp.Nodes)
	if resp.Settings != nil && resp.Settings.Version != p.settings.Version {
		p.settings = *resp.Settings
		p.limits.apply(p.settings)
		if p.logs != nil {
			p.logs.apply(p.settings.Settings())
		}
		changed = true
	}
	if !changed {
		return nil
	}
	if err := p.keep(learnt{Nodes: p.mesh.nodes.known(), Settings: p.settings}); err != nil {
		p.log.Warn("learnt nodes and settings not kept", telemetry.KeyError, err)
	}
	return nil
}

// settled returns the ids of the reports that are off the agent's hands. A
// refused first report means that the command is over: it was cancelled.
func (p *poller) settled(req *api.PollRequest, resp *api.PollResponse) []string {
	ids := resp.Accepted
	for _, rejected := range resp.Rejected {
		ids = append(ids, rejected.ID)
		for _, r := range req.Reports {
			if r.ID != rejected.ID {
				continue
			}
			p.log.Warn("report refused", telemetry.KeyCommand, r.CommandID, "state", r.State, telemetry.KeyError, rejected.Error)
			if r.State == api.StateRunning {
				p.executor.unwanted(r.CommandID)
			}
		}
	}
	return ids
}

// onMyClock moves deadlines from the node's clock to this machine's, which may
// be wrong by hours.
func onMyClock(cmds []api.Command, theirs, mine time.Time) []api.Command {
	if theirs.IsZero() {
		return cmds
	}
	for i := range cmds {
		if d := cmds[i].Deadline; !d.IsZero() {
			cmds[i].Deadline = mine.Add(d.Sub(theirs))
		}
	}
	return cmds
}

// absorbTrust takes over what has changed in the cluster's trust, and reconnects
// with a new certificate: nodes see the old one until then.
func (p *poller) absorbTrust(resp *api.PollResponse) {
	reconnect, err := p.trust.learn(resp.Trust)
	if err != nil {
		p.log.Error("the cluster's trust was not taken over", telemetry.KeyError, err)
		p.trust.refused(api.Incident{Class: "trust", Detail: err.Error()})
	}
	if reconnect {
		p.mesh.close()
	}
	if err := p.trust.clock.keep(resp.Now); err != nil {
		p.log.Warn("time of the poll not kept", telemetry.KeyError, err) // a full disk is no reason to take no orders
	}
}
