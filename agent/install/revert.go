package install

import (
	"context"
	"errors"
	"fmt"
	"time"

	"redflag/telemetry"
)

// revertStage does the work of one stage on the way back.
func (e *Engine) revertStage(ctx context.Context, how installer, job *Job) error {
	steady := context.WithoutCancel(ctx)
	switch job.Stage {
	case StageReverting:
		return e.revert(steady, how, job)
	case StageRevertRebooting:
		return e.reboot(ctx, how, job)
	case StageRevertVerifying:
		err := how.(rebooter).verifyRevert(steady, job) //nolint:forcetypeassert // only a rebooter gets here
		if err == nil {
			return e.to(job, StageFailing)
		}
		job.Log.Warn("machine is not back after its reboot", telemetry.KeyError, err)
		if job.Tries >= maxTries {
			job.Stuck = clip(fmt.Sprintf("after %d reboots: %v", job.Tries, e.explain(job, err)))
			return e.to(job, StageFailing)
		}
		tries := job.Tries
		job.Stage, job.resumed, job.Tries = StageRevertRebooting, false, tries
		return e.save(job)
	case StageFailing:
		if err := how.failed(steady, job); err != nil {
			job.Log.Warn("failure handler failed", telemetry.KeyError, e.explain(job, err))
		}
		return e.to(job, StageCleaning)
	default:
		return fmt.Errorf("the journal names a stage %q that this agent does not know", job.Stage)
	}
}

func (e *Engine) revert(ctx context.Context, how installer, job *Job) error {
	var err error
	for range revertTries {
		if err = how.revert(ctx, job); err == nil || errors.Is(err, errNoWayBack) {
			break
		}
		job.Log.Warn("going back failed", telemetry.KeyError, err)
		time.Sleep(e.Host.pause())
	}
	if err != nil {
		job.Stuck = clip(e.explain(job, err).Error())
		return e.to(job, StageFailing)
	}
	if job.Old != nil {
		job.Log.Info("version before is back", "version", job.Old.Version)
	}
	switch job.Restart {
	case RestartSystem, RestartModule:
		return e.to(job, StageRevertRebooting)
	case RestartAgent:
		if err := e.to(job, StageFailing); err != nil {
			return err
		}
		return ErrRestart
	default:
		return e.to(job, StageFailing)
	}
}

// reboot restarts the machine, or lets the module restart what it owns, on
// the way there or on the way back. A module that takes the machine down with
// it is not asked again.
func (e *Engine) reboot(ctx context.Context, how installer, job *Job) error {
	next, returning := StageVerifying, job.Stage == StageRevertRebooting
	if returning {
		next = StageRevertVerifying
	}
	if job.Restart == RestartModule {
		if job.resumed {
			return e.rebooted(job, next)
		}
		r := how.(rebooter) //nolint:forcetypeassert // only a rebooter asks for this
		call := r.reboot
		if returning {
			call = r.revertReboot
		}
		// One that takes the machine down may wait for its end, and would hold that up.
		calling, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		defer cancel(nil)
		go func() {
			select {
			case <-job.Stop:
				cancel(context.Canceled)
			case <-calling.Done():
			}
		}()
		err := call(calling, job)
		if calling.Err() != nil {
			return context.Canceled
		}
		if err != nil && !returning {
			return e.back(job, err)
		}
		return e.rebooted(job, next)
	}
	boot, err := e.Host.BootID()
	if err != nil && returning { // the way back has no way back
		job.Stuck = clip(err.Error())
		return e.to(job, StageFailing)
	}
	if err != nil {
		return e.back(job, err)
	}
	if job.resumed && job.BootID != "" && boot != job.BootID {
		return e.rebooted(job, next)
	}
	if job.Tries >= maxTries {
		return e.stayedUp(job, next)
	}
	job.BootID, job.Tries = boot, job.Tries+1
	if err := e.save(job); err != nil {
		return err
	}
	job.Log.Info("machine reboots for the install", "try", job.Tries)
	if err := e.Host.Reboot(context.WithoutCancel(ctx)); err != nil {
		job.Log.Warn("reboot failed", telemetry.KeyError, err)
	}
	job.resumed = true
	if returning { // a deadline that has passed is why it goes back, and does not end that
		select {
		case <-job.Stop:
			return context.Canceled
		case <-time.After(e.Host.GoesDownWithin()):
			return nil
		}
	}
	select {
	case <-ctx.Done():
		if held(ctx) {
			return context.Cause(ctx)
		}
		return e.back(job, context.Cause(ctx))
	case <-time.After(e.Host.GoesDownWithin()):
		return nil // asked again, or given up
	}
}

// rebooted goes on after a restart. The number of tries stays: it caps loops.
func (e *Engine) rebooted(job *Job, next Stage) error {
	tries := max(job.Tries, 1)
	if next == StageRevertVerifying && job.Restart == RestartModule {
		tries = job.Tries + 1
	}
	job.Stage, job.resumed, job.Tries, job.BootID = next, false, tries, ""
	return e.save(job)
}

func (e *Engine) stayedUp(job *Job, next Stage) error {
	err := fmt.Errorf("the machine did not reboot in %d tries", job.Tries)
	if next == StageVerifying {
		return e.back(job, err)
	}
	job.Stuck = err.Error()
	return e.to(job, StageFailing)
}
