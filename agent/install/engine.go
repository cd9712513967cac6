package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"redflag/api"
	"redflag/telemetry"
)

const (
	// maxTries caps reboots in a row, and starts of a new binary.
	maxTries = 3
	// rebootWait is how long a machine may take to go down.
	rebootWait = 10 * time.Minute
	// revertTries is how often the way back is tried before people are asked.
	revertTries = 3
	revertPause = 2 * time.Second
	// maxCause bounds the message of a failure, in bytes: it is replicated.
	maxCause = 1024
)

// Engine carries out jobs, one at a time.
type Engine struct {
	Store *Store
	Host  Host

	// step is called around each durable step; tests crash there.
	step func(name string) error
}

// OnStep makes the engine and its store call f around each durable step.
// Tests crash there.
func (e *Engine) OnStep(f func(name string) error) { e.step, e.Store.Step = f, f }

// Run brings a job to its outcome: nil if the new version runs, a
// *RolledBackError if the old one does again, another error if nothing was
// changed or the machine is stuck, and ErrRestart if the agent must start
// again. When ctx ends the job is held, and Run returns the context's cause.
func (e *Engine) Run(ctx context.Context, job *Job) error {
	how, err := e.installer(job)
	if err != nil {
		return err
	}
	job.resumed = job.Stage != StageNew
	if job.Begun() {
		_ = job.begin() // there is no way to stop it any more, only the way back
	}
	for {
		if job.Watch != nil {
			job.Watch(job.Stage)
		}
		done, err := e.advance(ctx, how, job)
		if done || err != nil {
			return err
		}
	}
}

// advance does the work of one stage and journals the next.
func (e *Engine) advance(ctx context.Context, how installer, job *Job) (done bool, err error) {
	// Work that has begun is not torn by a shutdown: it has time-outs of its own.
	steady := context.WithoutCancel(ctx)
	switch job.Stage {
	case StageNew:
		if err := how.stage(ctx, job); err != nil {
			e.abandon(steady, how, job)
			return false, e.explain(job, err)
		}
		return false, e.to(job, StageStaged)
	case StageStaged:
		err := context.Cause(ctx)
		if err == nil {
			err = job.begin()
		}
		if err != nil {
			if !held(ctx) {
				// Noted first: the next start must not apply what is gone.
				if err := e.to(job, StageNew); err != nil {
					return false, err
				}
				e.abandon(steady, how, job)
			}
			return false, err
		}
		return false, e.to(job, StageApplying)
	case StageApplying:
		return false, e.apply(steady, how, job)
	case StageRebooting:
		return false, e.reboot(ctx, how, job)
	case StageProving:
		return false, e.prove(ctx, job)
	case StageVerifying:
		return false, e.try(job, StageChecking, how.verify(steady, job))
	case StageChecking:
		err := e.check(ctx, job)
		if err != nil && held(ctx) {
			return false, context.Cause(ctx)
		}
		if err != nil {
			job.Log.Warn("health gate failed", telemetry.KeyError, err)
		} else if checks := len(job.how().Checks); checks > 0 {
			job.Log.Info("health gate passed", "checks", checks)
		}
		return false, e.try(job, StageCommitting, err)
	case StageCommitting:
		if job.resumed && !how.repeatable() {
			return false, e.back(job, errInterrupted)
		}
		return false, e.try(job, StageCleaning, how.commit(steady, job))
	case StageCleaning:
		if err := how.cleanup(steady, job); err != nil {
			job.Log.Warn("leftovers of the install not removed", telemetry.KeyError, err)
		}
		return true, job.outcome()
	default:
		return false, e.revertStage(ctx, how, job)
	}
}

// held reports whether the agent stops: the job goes on with its next start. A
// context that ended for a reason of its own, such as a deadline, holds nothing.
func held(ctx context.Context) bool {
	return ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled)
}

func (j *Job) begin() error {
	if j.Begin == nil {
		return nil
	}
	return j.Begin()
}

var errInterrupted = errors.New("the install was interrupted")

func (e *Engine) apply(ctx context.Context, how installer, job *Job) error {
	if job.resumed && !how.repeatable() {
		return e.back(job, errInterrupted)
	}
	restart, err := how.apply(ctx, job)
	if err != nil {
		return e.back(job, err)
	}
	job.Restart = restart
	job.Log.Info("version switched", "to", job.New.Version, "restart", string(restart))
	switch restart {
	case RestartAgent:
		if err := e.to(job, StageProving); err != nil {
			return err
		}
		return ErrRestart
	case RestartSystem, RestartModule:
		return e.to(job, StageRebooting)
	default:
		return e.to(job, StageVerifying)
	}
}

// try goes on to the next stage if err is nil, and back otherwise.
func (e *Engine) try(job *Job, next Stage, err error) error {
	if err != nil {
		return e.back(job, err)
	}
	return e.to(job, next)
}

// back journals that the machine returns to the old version, and why.
func (e *Engine) back(job *Job, cause error) error {
	cause = e.explain(job, cause)
	job.Log.Warn("install failed; going back", "stage", string(job.Stage), telemetry.KeyError, cause)
	job.Cause = &api.Failure{Class: classOf(cause), Message: clip(cause.Error())}
	return e.to(job, StageReverting)
}

// to journals the next stage.
func (e *Engine) to(job *Job, next Stage) error {
	job.Stage, job.resumed, job.Tries = next, false, 0
	return e.save(job)
}

func (e *Engine) save(job *Job) error {
	name := string(job.Stage)
	if err := e.mark("before " + name + " is journalled"); err != nil {
		return err
	}
	if err := job.Save(&job.Progress); err != nil {
		return err
	}
	return e.mark(name + " journalled")
}

func (e *Engine) mark(name string) error {
	if e.step == nil {
		return nil
	}
	return e.step(name)
}

// abandon clears up after a job that has changed nothing.
func (e *Engine) abandon(ctx context.Context, how installer, job *Job) {
	if err := errors.Join(how.cleanup(ctx, job), e.Store.Discard(job.New.Name)); err != nil {
		job.Log.Warn("leftovers of the install not removed", telemetry.KeyError, err)
	}
}

// explain adds what scripts and tools printed last.
func (e *Engine) explain(job *Job, err error) error {
	said := strings.TrimSpace(job.out.String())
	if err == nil || said == "" {
		return err
	}
	job.out.Reset()
	return fmt.Errorf("%w; output: %s", err, said)
}

// outcome is what the job has come to.
func (j *Job) outcome() error {
	switch {
	case j.Cause == nil:
		return nil
	case j.Stuck != "":
		return api.Failf(j.Cause.Class, "%s; and the version before could not be restored: %s", j.Cause.Message, j.Stuck)
	default:
		return &RolledBackError{j.Cause}
	}
}

// clip keeps the beginning, which says what failed, and the end, which says why.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "")
	if len(s) <= maxCause {
		return s
	}
	const head, gap = maxCause / 3, " […] "
	return strings.ToValidUTF8(s[:head]+gap+s[len(s)-(maxCause-head-len(gap)):], "")
}
