package node

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust/pki"
)

// The tests in this file pin failures that queues of this kind are known for,
// with a real node and real certificates. Two more need a whole agent and are in
// e2e.

// member is an enrolled agent that says what a test wants it to say.
type member struct {
	*running
	id     string
	client *api.Client
}

func (r *running) member(id string) *member {
	r.t.Helper()
	creds, err := r.enrol(id, r.token(agentToken))
	require.NoError(r.t, err)
	return &member{running: r, id: id, client: r.meshClient(creds.NodeClientTLS(pki.ALPNHTTP))}
}

func (m *member) poll(req api.PollRequest) (resp api.PollResponse) {
	m.t.Helper()
	require.NoError(m.t, m.client.Do(m.t.Context(), http.MethodPost, "/v1/agents/"+m.id+"/poll", req, &resp))
	return resp
}

// reports sends one report and returns why it was refused, nil if it was not.
func (m *member) reports(id, command string, s api.State) *api.Error {
	m.t.Helper()
	return m.sends(api.Report{ID: id, CommandID: command, State: s, At: time.Now()})
}

func (m *member) sends(r api.Report) *api.Error {
	m.t.Helper()
	resp := m.poll(api.PollRequest{Reports: []api.Report{r}, Held: []string{r.CommandID}})
	if len(resp.Rejected) == 1 {
		require.Equal(m.t, r.ID, resp.Rejected[0].ID)
		return resp.Rejected[0].Error
	}
	require.Equal(m.t, []string{r.ID}, resp.Accepted)
	return nil
}

// order creates a rollout of a kind that needs no artifact.
func (r *running) order(id string, plan api.Plan, agents ...string) api.Rollout {
	r.t.Helper()
	var out api.Rollout
	r.do("/v1/rollouts", api.CreateRolloutRequest{
		ID: id, Kind: api.KindScan, Selector: api.Selector{Agents: agents}, Plan: plan,
	}, &out)
	return out
}

func (r *running) do(path string, in, out any) {
	r.t.Helper()
	require.NoError(r.t, r.operator.Do(r.t.Context(), http.MethodPost, path, in, out))
}

func (r *running) show(command string) (c api.CommandDetail) {
	r.t.Helper()
	require.NoError(r.t, r.operator.Do(r.t.Context(), http.MethodGet, "/v1/commands/"+command, nil, &c))
	return c
}

// A result word that the schema does not know is refused, alone: the reports
// beside it count, the command goes on, and the node lives.
func TestUnknownResultWord(t *testing.T) {
	r := start(t)
	a := r.member("a1")
	r.order("r1", api.Plan{}, "a1")
	r.order("r2", api.Plan{}, "a1")
	require.Len(t, a.poll(api.PollRequest{}).Commands, 2)
	resp := a.poll(api.PollRequest{Reports: []api.Report{
		{ID: "p1", CommandID: "r1:a1", State: "partially_done", At: time.Now()},
		{ID: "p2", CommandID: "r2:a1", State: api.StateSucceeded, At: time.Now()},
	}, Held: []string{"r1:a1"}})
	require.Len(t, resp.Rejected, 1)
	require.Equal(t, "p1", resp.Rejected[0].ID)
	require.Equal(t, api.CodeInvalid, resp.Rejected[0].Error.Code)
	require.Equal(t, []string{"p2"}, resp.Accepted)
	require.Equal(t, api.StateLeased, r.show("r1:a1").State)
	require.Nil(t, a.reports("p3", "r1:a1", api.StateSucceeded))
	require.Equal(t, api.StateSucceeded, r.show("r1:a1").State)
}

// A reply that got lost after the hand-out is made good: the same command, under
// the same id, comes with the next poll, and not once the agent holds it.
func TestReplyLostAfterHandOut(t *testing.T) {
	r := start(t)
	a := r.member("a1")
	r.order("r1", api.Plan{}, "a1")
	lost := a.poll(api.PollRequest{}).Commands
	again := a.poll(api.PollRequest{}).Commands
	require.Len(t, again, 1)
	require.Equal(t, lost[0].ID, again[0].ID)
	require.Equal(t, lost[0].Deadline, again[0].Deadline, "a lost reply buys no time")
	require.Equal(t, 2, again[0].Attempt)
	require.Empty(t, a.poll(api.PollRequest{Held: []string{again[0].ID}}).Commands)
}

// A retry keeps the kind, the agent, the gates and the windows of what it
// repeats, links to it, and can itself be repeated.
func TestRetryKeepsConstraints(t *testing.T) {
	r := start(t)
	a := r.member("a1")
	plan := api.Plan{
		Timeout: api.Duration(time.Hour), Gates: api.Gates{LoadPercent: 150},
		Windows: []api.Window{{Days: []int{0, 1, 2, 3, 4, 5, 6}, From: 0, To: 24 * 60, Zone: "UTC"}},
	}
	r.order("r1", plan, "a1")
	calm, busy := 10, 400
	require.Empty(t, a.poll(api.PollRequest{Readiness: &api.Readiness{LoadPercent: &busy}}).Commands)
	require.Equal(t, "load: 400 % per CPU, at most 150 % allowed", r.show("r1:a1").Waiting)
	require.Len(t, a.poll(api.PollRequest{Readiness: &api.Readiness{LoadPercent: &calm}}).Commands, 1)

	retry := func(id, of string) error {
		return r.operator.Do(t.Context(), http.MethodPost, "/v1/commands/"+of+"/retry", api.RetryRequest{ID: id}, nil)
	}
	require.Equal(t, api.CodeConflict, api.CodeOf(retry("x", "r1:a1")), "it has not ended")
	failed := api.Report{ID: "p1", CommandID: "r1:a1", State: api.StateFailed, At: time.Now(), Failure: &api.Failure{Class: api.ErrorUnsupported, Message: "no"}}
	require.Nil(t, a.sends(failed))
	require.NoError(t, retry("r2", "r1:a1"))
	require.NoError(t, retry("r2", "r1:a1"), "a repeat of the request is harmless")

	c := r.show("r2:a1")
	require.Equal(t, "r1:a1", c.RetryOf)
	require.Equal(t, api.KindScan, c.Kind)
	require.Empty(t, a.poll(api.PollRequest{Readiness: &api.Readiness{LoadPercent: &busy}}).Commands, "its gates hold")
	got := a.poll(api.PollRequest{Readiness: &api.Readiness{LoadPercent: &calm}}).Commands
	require.Len(t, got, 1)
	require.Equal(t, "r2:a1", got[0].ID)
	require.WithinDuration(t, got[0].LeasedAt.Add(time.Hour), got[0].Deadline, time.Second)
	failed.ID, failed.CommandID = "p2", "r2:a1"
	require.Nil(t, a.sends(failed))
	require.NoError(t, retry("r3", "r2:a1"))
	require.Equal(t, "r2:a1", r.show("r3:a1").RetryOf)
}

// An agent can neither end nor even touch a command of another one.
func TestAgentCannotCompleteAnothersCommand(t *testing.T) {
	r := start(t)
	a, b := r.member("a1"), r.member("a2")
	r.order("r1", api.Plan{}, "a1")
	require.Len(t, a.poll(api.PollRequest{}).Commands, 1)
	before := r.show("r1:a1")
	for _, s := range []api.State{api.StateRunning, api.StateSucceeded, api.StateFailed, api.StateCancelled} {
		require.Equal(t, api.CodeDenied, b.reports("p-"+string(s), "r1:a1", s).Code)
	}
	require.Equal(t, before, r.show("r1:a1"))
	require.Nil(t, a.reports("p1", "r1:a1", api.StateSucceeded))
}

// A report that comes after the deadline is answered, so that the agent drops
// it, and changes nothing.
func TestReportAfterDeadline(t *testing.T) {
	r := start(t)
	a := r.member("a1")
	r.order("r1", api.Plan{Timeout: api.Duration(time.Second)}, "a1")
	require.Len(t, a.poll(api.PollRequest{}).Commands, 1)
	require.Nil(t, a.reports("p1", "r1:a1", api.StateRunning))
	require.Eventually(t, func() bool { return r.show("r1:a1").State == api.StateTimedOut }, 20*time.Second, 50*time.Millisecond)
	ended := r.show("r1:a1")
	require.Equal(t, api.ErrorDeadline, ended.Failure.Class)
	require.Equal(t, api.CodeConflict, a.reports("p2", "r1:a1", api.StateSucceeded).Code)
	require.Equal(t, ended, r.show("r1:a1"))
	var ro api.Rollout
	require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, "/v1/rollouts/r1", nil, &ro))
	require.Equal(t, api.RolloutDone, ro.State)
	require.Equal(t, map[api.State]int{api.StateTimedOut: 1}, ro.Counts)
}

// Pause, resume and abort are seen by the next poll, and say why.
func TestSteeringARollout(t *testing.T) {
	r := start(t)
	a := r.member("a1")
	r.order("r1", api.Plan{}, "a1")
	r.do("/v1/rollouts/r1/pause", api.ChangeRolloutRequest{Reason: "lunch"}, nil)
	require.Empty(t, a.poll(api.PollRequest{}).Commands)
	require.Equal(t, "the rollout is paused: lunch", r.show("r1:a1").Waiting)
	r.do("/v1/rollouts/r1/resume", api.ChangeRolloutRequest{}, nil)
	require.Len(t, a.poll(api.PollRequest{}).Commands, 1)
	r.do("/v1/rollouts/r1/cancel", nil, nil)
	resp := a.poll(api.PollRequest{Held: []string{"r1:a1"}})
	require.Equal(t, []string{"r1:a1"}, resp.Cancel)
	require.Nil(t, a.reports("p1", "r1:a1", api.StateCancelled))
	require.Empty(t, a.poll(api.PollRequest{}).Cancel)
	require.Equal(t, api.StateCancelled, r.show("r1:a1").State)
	err := r.operator.Do(context.WithoutCancel(t.Context()), http.MethodPost, "/v1/rollouts/r1/rollback", api.RollbackRequest{ID: "b1"}, nil)
	require.Equal(t, api.CodeConflict, api.CodeOf(err), fmt.Sprint(err))
}

// A label's maintenance windows hold for each machine that has it, and for what
// changes the machine only; labels that change later count at once.
func TestMaintenanceWindowsOfALabel(t *testing.T) {
	r := start(t)
	a := r.member("a1")
	now := time.Now().UTC()
	shut := fmt.Sprintf("%s 00:00-24:00", []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}[(int(now.Weekday())+3)%7])
	change := func(of string, windows string) error {
		return r.operator.Do(t.Context(), http.MethodPatch, "/v1/settings",
			api.SettingsChange{Layer: layer(t, of), Values: map[api.SettingKey]string{api.SettingWindows: windows}}, nil)
	}
	require.Equal(t, api.CodeInvalid, api.CodeOf(change("label:role=till", "whenever")))
	require.NoError(t, change("label:role=till", shut))
	label := func(req api.LabelRequest) (agent api.Agent) {
		require.NoError(t, r.operator.Do(t.Context(), http.MethodPatch, "/v1/agents/a1/labels", req, &agent))
		return agent
	}
	require.Equal(t, "till", label(api.LabelRequest{Set: map[string]string{"role": "till"}}).Labels["role"])
	r.do("/v1/rollouts", api.CreateRolloutRequest{ID: "r1", Kind: api.KindReboot, Selector: api.Selector{Agents: []string{"a1"}}}, nil)
	require.Empty(t, a.poll(api.PollRequest{}).Commands)
	require.Equal(t, "the agent's own maintenance window is shut", r.show("r1:a1").Waiting)
	r.order("r2", api.Plan{}, "a1") // a scan
	commands := a.poll(api.PollRequest{}).Commands
	require.Len(t, commands, 1)
	require.Equal(t, "r2:a1", commands[0].ID)
	label(api.LabelRequest{Remove: []string{"role"}})
	require.Len(t, a.poll(api.PollRequest{Held: []string{"r2:a1"}}).Commands, 1)
}
