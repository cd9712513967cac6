package agent

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/agent/install"
	"redflag/agent/system"
	"redflag/api"
)

// During a download a wish to cancel is carried out; nothing is installed.
func TestCancelWhileItRuns(t *testing.T) {
	m := newMachine(t, "1.0")
	m.shelf.onFetch = func(ctx context.Context, _ func(api.Transfer)) error {
		require.NoError(t, m.cancelCommand(next(t, m.journal).Command.ID))
		<-ctx.Done()
		return ctx.Err()
	}
	require.Equal(t, api.StateCancelled, m.install("1.0").State)
	cur, err := m.versions.Current("app")
	require.NoError(t, err)
	require.Nil(t, cur)
	activity, _ := m.activity()
	require.Equal(t, api.ActivityIdle, activity, "a cancelled command is no failure")
}

// A command that waits ends without having begun.
func TestCancelBeforeItRuns(t *testing.T) {
	m := newMachine(t, "1.0")
	m.order(api.KindInstall, "1.0")
	held := next(t, m.journal)
	require.NoError(t, m.cancelCommand(held.Command.ID))
	require.Nil(t, next(t, m.journal))
	require.NoError(t, m.execute(t.Context(), held), "it was read before it was cancelled")
	require.Zero(t, m.shelf.fetches)
	reports := outbox(t, m.journal)
	require.Len(t, reports, 1)
	require.Equal(t, api.StateCancelled, reports[0].State)
}

// A command that an earlier life of the process began to carry out is not taken for
// cancelled while the new one has not come to it yet.
func TestCancelOfAnInstallThatHasBegun(t *testing.T) {
	m := newMachine(t, "1.0")
	m.order(api.KindInstall, "1.0")
	e := next(t, m.journal)
	require.NoError(t, m.journal.start(e))
	e.Install = &install.Progress{Stage: install.StageProving}
	require.NoError(t, m.journal.note(e))
	m.boot()
	require.NoError(t, m.cancelCommand(e.Command.ID))
	require.NotNil(t, next(t, m.journal), "it goes on")
	reports := outbox(t, m.journal)
	require.Len(t, reports, 2)
	require.NotEmpty(t, reports[1].CancelRefused)
}

// One that was under way and had changed nothing ends, also if it was read before.
func TestCancelOfAHeldCommand(t *testing.T) {
	m := newMachine(t, "1.0")
	m.order(api.KindInstall, "1.0")
	require.NoError(t, m.journal.start(next(t, m.journal)))
	m.boot()
	held := next(t, m.journal)
	require.NoError(t, m.cancelCommand(held.Command.ID))
	require.NoError(t, m.execute(t.Context(), held))
	require.Zero(t, m.shelf.fetches)
	require.Len(t, outbox(t, m.journal), 2, "running, cancelled")
}

// A command that is cancelled before it arrives must not run when it does.
func TestCancelBeforeItArrives(t *testing.T) {
	m := newMachine(t, "1.0")
	cmd := command(1)
	require.NoError(t, m.cancelCommand(cmd.ID))
	require.NoError(t, m.cancelCommand(cmd.ID), "a repeat")
	m.boot()
	took, err := m.journal.accept([]api.Command{cmd})
	require.NoError(t, err)
	require.Equal(t, []int{0, 1}, []int{took.fresh, took.repeats})
	require.Nil(t, next(t, m.journal))
	reports := outbox(t, m.journal)
	require.Len(t, reports, 1)
	require.Equal(t, api.StateCancelled, reports[0].State)
}

// Past the point of no return the agent goes on, and says so once.
func TestCancelTooLate(t *testing.T) {
	m := newMachine(t, "1.0")
	m.order(api.KindInstall, "1.0")
	id := next(t, m.journal).Command.ID
	m.versions.Step = func(name string) error {
		if name == "link made" {
			require.NoError(t, m.cancelCommand(id))
			require.NoError(t, m.cancelCommand(id))
		}
		return nil
	}
	require.Equal(t, api.StateSucceeded, m.work().State)
	reports := outbox(t, m.journal)
	require.Len(t, reports, 3, "running, going on, succeeded")
	require.Equal(t, api.StateRunning, reports[1].State)
	require.NotEmpty(t, reports[1].CancelRefused)
	require.NoError(t, m.cancelCommand(id))
	require.Len(t, outbox(t, m.journal), 3, "its end is the answer")
}

// The agent stops at the deadline by its own clock, and does not begin after it.
func TestDeadlineOnTheAgent(t *testing.T) {
	m := newMachine(t, "1.0")
	m.shelf.onFetch = func(ctx context.Context, _ func(api.Transfer)) error {
		<-ctx.Done()
		return ctx.Err()
	}
	cmd := command(1)
	cmd.Kind, cmd.Version = api.KindInstall, "1.0"
	theirs, mine := time.Now().Add(-7*time.Hour), time.Now() // their clock is slow
	cmd.Deadline = theirs.Add(200 * time.Millisecond)
	accept(t, m.journal, onMyClock([]api.Command{cmd}, theirs, mine)...)
	end := m.work()
	require.Equal(t, api.StateFailed, end.State)
	require.Equal(t, api.ErrorDeadline, end.Failure.Class)
	require.Equal(t, 1, m.shelf.fetches)

	late := command(2)
	late.Kind, late.Version, late.Deadline = api.KindInstall, "1.0", time.Now().Add(-time.Second)
	accept(t, m.journal, late)
	require.Equal(t, api.ErrorDeadline, m.work().Failure.Class)
	require.Equal(t, 1, m.shelf.fetches)
}

func TestStepsAreTimed(t *testing.T) {
	m := newMachine(t, "1.0")
	end := m.install("1.0")
	require.Equal(t, api.StateSucceeded, end.State)
	var names []string
	for _, s := range end.Log.Steps {
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"verifying", "downloading", "installing", "checking"}, names)
}

func TestReadinessOfThisMachine(t *testing.T) {
	r := readiness(t.Context(), t.TempDir(), &system.System{}, nil)
	require.Positive(t, *r.DiskFree)
	require.GreaterOrEqual(t, *r.DiskTotal, *r.DiskFree)
	require.Empty(t, r.Degraded)
}

// A node that says when to come back is left alone until then.
func TestRetryAfterIsHonoured(t *testing.T) {
	now := time.Now()
	l := newNodeList("eu", nil, []api.NodeAddr{{ID: "n1", Region: "eu", Addr: "n1:1"}})
	l.now = func() time.Time { return now }
	n := l.order()[0]
	asked := api.Errorf(api.CodeRateLimited, "too many")
	asked.RetryAfter = api.Duration(30 * time.Second)
	l.failed(n, retryAfter(asked))
	require.Equal(t, 30*time.Second, l.closedFor(n))
	now = now.Add(31 * time.Second)
	require.LessOrEqual(t, l.closedFor(n), time.Duration(0))
	asked.RetryAfter = api.Duration(100 * time.Hour)
	require.Equal(t, maxRetryAfter, retryAfter(asked))
}
