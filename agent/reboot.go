package agent

import (
	"context"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
)

// rebooting is what the journal knows of a reboot. It is written before the machine
// is asked, so that whatever stops this process, it is asked at most once.
type rebooting struct {
	BootID string    `json:"boot_id"` // of the system that is to end
	At     time.Time `json:"at"`
}

// reboot restarts the machine, and succeeds in the life of this process that sees
// another boot.
func (e *executor) reboot(ctx context.Context, log hclog.Logger, en *entry) error {
	boot, err := e.engine.Host.BootID()
	if err != nil {
		return api.Failf(api.ErrorRefused, "this machine does not tell its boots apart: %w", err)
	}
	if en.Reboot != nil {
		if boot != en.Reboot.BootID {
			log.Info("machine is back", "boot_id", boot, "took", time.Since(en.Reboot.At).Round(time.Second).String())
			return nil
		}
		return e.awaitEnd(ctx, en) // who stopped the agent may still be about to stop the machine
	}
	if !e.allowReboot {
		return api.Failf(api.ErrorRefused, "this machine does not let RedFlag restart it; its agent would have to run with --allow-reboot")
	}
	if why := e.notReady(); why != "" {
		return api.Failf(api.ErrorRefused, "the machine is not restarted now: %s", why)
	}
	if err := e.pointOfNoReturn(ctx); err != nil {
		return err
	}
	e.phase(api.PhaseRebooting)
	en.Reboot = &rebooting{BootID: boot, At: time.Now().UTC()}
	if err := e.journal.note(en); err != nil {
		return err
	}
	log.Info("machine reboots", "boot_id", boot)
	if err := e.engine.Host.Reboot(context.WithoutCancel(ctx)); err != nil {
		return api.Failf(api.ErrorInstall, "the machine does not take the reboot: %w", err)
	}
	return e.awaitEnd(ctx, en)
}

// awaitEnd waits for the machine to end, and this process with it.
func (e *executor) awaitEnd(ctx context.Context, en *entry) error {
	within := e.engine.Host.GoesDownWithin()
	wait := time.NewTimer(within - time.Since(en.Reboot.At))
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-wait.C:
		return api.Failf(api.ErrorInstall, "the machine was asked to reboot and did not go down within %s", within)
	}
}

// notReady is why the machine should not be restarted now, or "".
func (e *executor) notReady() string {
	r := e.readiness()
	if why := (api.Gates{}).Closed(r, 0); why != "" {
		return why
	}
	if r != nil && r.PackageLock != nil && *r.PackageLock {
		return "the package manager's lock is held"
	}
	return ""
}
