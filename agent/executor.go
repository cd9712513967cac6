package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/agent/install"
	"redflag/api"
	"redflag/telemetry"
	"redflag/trust"

	"redflag/agent/system"
)

const (
	// patience is the default of Config.Patience.
	patience = 30 * time.Minute
	// lagPatience covers what a node that is behind the others makes look like
	// a replay of older metadata.
	lagPatience = 5 * time.Second
	// failingFor is how long after a failure the agent asks for the short poll
	// interval: an operator is likely to send the next command soon.
	failingFor = 10 * time.Minute
	retryBase  = time.Second
	retryLimit = time.Minute
)

// targets answers what the operator has signed.
type targets interface {
	target(ctx context.Context, path string) (trust.Target, error)
}

// payloads fetches and keeps what the swarm carries, by info hash.
type payloads interface {
	// fetch returns when the payload is complete. progress is called now and
	// then, also while nothing comes.
	fetch(ctx context.Context, t trust.Target, progress func(api.Transfer)) (api.Transfer, error)
	open(infoHash string) (io.ReadCloser, error)
	remove(infoHash string) error
	// retain removes every complete payload that keep does not name, and parts of
	// others that nobody went on to fetch for long.
	retain(keep []string) error
}

// executor carries out the journal's commands, one at a time and in order.
type executor struct {
	journal  *journal
	versions *install.Store
	engine   *install.Engine
	targets  targets
	payloads payloads
	contents *contents
	log      hclog.Logger
	wake     chan struct{} // there may be a command
	ended    func()        // a command has ended
	refused  func(api.Incident)
	machine  func() (api.Machine, error)
	system   *system.System
	// osUpdates says that packages of the operating system may be updated, and
	// allowReboot that a command may restart the machine.
	osUpdates, allowReboot bool
	readiness              func() *api.Readiness

	stopping <-chan struct{} // of the command that is under way: the agent stops

	patience, lagPatience time.Duration
	retryBase             time.Duration

	mu       sync.Mutex
	progress *api.Progress
	steps    stopwatch
	switched bool      // the command that is under way cannot be undone any more
	failedAt time.Time // when the last command failed; zero if it did not
	cancel   context.CancelCauseFunc
}

func newExecutor(j *journal, v *install.Store, t targets, p payloads, log hclog.Logger, ended func()) *executor {
	return &executor{
		journal: j, versions: v, engine: &install.Engine{Store: v}, targets: t, payloads: p, log: log, ended: ended,
		contents: &contents{versions: v, payloads: p},
		wake:     make(chan struct{}, 1),
		system:   &system.System{},
		refused:  func(api.Incident) {}, readiness: func() *api.Readiness { return nil },
		machine:  func() (api.Machine, error) { return thisMachine(filepath.Dir(v.Dir)) },
		patience: patience, lagPatience: lagPatience, retryBase: retryBase,
	}
}

// run works until ctx ends. What is under way then stays held, and goes on
// with the next start. An error means that the journal cannot be used.
func (e *executor) run(ctx context.Context) error {
	for ctx.Err() == nil {
		en, err := e.journal.next()
		if err != nil {
			return fmt.Errorf("read journal: %w", err)
		}
		if en == nil {
			select {
			case <-ctx.Done():
			case <-e.wake:
			}
			continue
		}
		if err := e.execute(ctx, en); err != nil {
			return err
		}
	}
	return nil
}

// nudge tells run that there may be a command.
func (e *executor) nudge() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// execute brings one command to its end, or leaves it held when ctx ends.
func (e *executor) execute(ctx context.Context, en *entry) error {
	ctx = api.WithCorrelation(ctx, en.Command.CorrelationID)
	log := telemetry.For(ctx, e.log).With(telemetry.KeyCommand, en.Command.ID,
		"kind", en.Command.Kind, "artifact", en.Command.Artifact, "version", en.Command.Version)
	work, done := e.begin(ctx, en)
	resumed := en.State == api.StateRunning
	if err := e.journal.start(en); err != nil {
		done()
		if errors.Is(err, errEnded) {
			return nil // it was cancelled before it began
		}
		return err
	}
	e.stopping = ctx.Done()
	log.Info("command started", "resumed", resumed)
	err := e.perform(work, log, en)
	if errors.Is(err, install.ErrRestart) || errors.Is(err, errNotJournalled) {
		done()
		return err // the journal has the command, and the next start goes on with it
	}
	if err != nil && ctx.Err() != nil {
		done()
		log.Info("command held for the next start", telemetry.KeyError, err)
		return nil //nolint:nilerr // the end was asked for; the journal has the command
	}
	if cause := context.Cause(work); err != nil && cause != nil && !en.Install.Begun() {
		err = cause // why it was stopped says more than what that broke
	}
	if en.Log == nil {
		en.Log = &api.ExecutionLog{}
	}
	en.Log.Steps = e.stepsTaken()
	err = e.conclude(log, en, err)
	done()
	if err != nil {
		return err
	}
	debug.FreeOSMemory() // a download leaves buffers that an idle agent has no use for
	e.ended()
	return nil
}

// conclude journals how the command ended.
func (e *executor) conclude(log hclog.Logger, en *entry, err error) error {
	dropped, cancelled := errors.Is(err, errUnwanted), errors.Is(err, errCancelled)
	e.mu.Lock()
	e.switched = true // whatever comes now comes too late
	e.failedAt = time.Time{}
	if err != nil && !dropped && !cancelled {
		e.failedAt = time.Now()
	}
	e.mu.Unlock()
	switch {
	case err == nil:
		log.Info("command succeeded", "from_peers", en.Transfer.FromPeers, "from_nodes", en.Transfer.FromNodes)
		return e.journal.end(en, api.StateSucceeded, nil)
	case cancelled:
		log.Info("command cancelled")
		return e.journal.end(en, api.StateCancelled, nil)
	case dropped:
		log.Info("command dropped", telemetry.KeyError, err)
		return e.journal.drop(en)
	default:
		failure, state := failureOf(err), api.StateFailed
		if _, back := errors.AsType[*install.RolledBackError](err); back {
			state = api.StateRolledBack
		}
		if failure.Class == api.ErrorVerify || failure.Class == api.ErrorDowngrade {
			e.refused(api.Incident{Class: string(failure.Class), Detail: failure.Message, Command: en.Command.ID})
		}
		if failure.Class == api.ErrorNetwork { // whoever withholds, by force or by accident
			e.refused(api.Incident{Class: "withheld", Detail: failure.Message, Command: en.Command.ID})
		}
		log.Error("command failed", "state", string(state), "class", failure.Class, telemetry.KeyError, err)
		return e.journal.end(en, state, failure)
	}
}

// begin makes en the command that activity speaks of until done is called.
func (e *executor) begin(ctx context.Context, en *entry) (work context.Context, done func()) {
	work, cancel := context.WithCancelCause(ctx)
	stop := context.CancelFunc(func() {})
	if !en.Deadline.IsZero() {
		work, stop = context.WithDeadlineCause(work, en.Deadline, errOverdue)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancel, e.switched = cancel, en.begun()
	e.steps = stopwatch{}
	e.progress = &api.Progress{CommandID: en.Command.ID, Phase: api.PhaseVerifying, Transfer: en.Transfer}
	return work, func() {
		stop()
		cancel(nil)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.progress, e.cancel = nil, nil
	}
}

func (e *executor) perform(ctx context.Context, log hclog.Logger, en *entry) error {
	if ctx.Err() != nil && en.Install == nil { // one that is under way has something to clear away
		return context.Cause(ctx)
	}
	switch en.Command.Kind {
	case api.KindInstall, api.KindUpdateAgent:
		return e.install(ctx, log, en)
	case api.KindRollback:
		return e.rollback(ctx, log, en)
	case api.KindScan, api.KindCollectSpecs:
		return e.scan(ctx, log, en)
	case api.KindUpdatePackage:
		return e.updatePackage(ctx, log, en)
	case api.KindCollectLogs:
		return e.collectLogs(ctx, log, en)
	case api.KindReboot:
		return e.reboot(ctx, log, en)
	case api.KindRunModule:
		return e.runModule(ctx, log, en)
	default:
		return api.Failf(api.ErrorUnsupported, "this agent does not know the command %q; update the agent first", en.Command.Kind)
	}
}

// phase publishes what the command is doing.
func (e *executor) phase(p api.Phase) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.progress.Phase = p
	e.steps.next(string(p))
}

func (e *executor) stepsTaken() []api.Step {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.steps.stop()
}

func (e *executor) transferred(t api.Transfer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.progress.Transfer = t
}

// activity is what the next poll says of the executor.
func (e *executor) activity() (api.Activity, []api.Progress) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.progress == nil {
		if time.Since(e.failedAt) < failingFor {
			return api.ActivityFailing, nil
		}
		return api.ActivityIdle, nil
	}
	a := api.ActivityInstalling
	if e.progress.Phase == api.PhaseDownloading {
		a = api.ActivityDownloading
	}
	return a, []api.Progress{*e.progress}
}
