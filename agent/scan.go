package agent

import (
	"context"

	"github.com/hashicorp/go-hclog"

	"redflag/agent/process"
	"redflag/api"
	"redflag/telemetry"
)

// scan looks at the machine. What it finds goes out with the final report.
func (e *executor) scan(ctx context.Context, log hclog.Logger, en *entry) error {
	e.phase(api.PhaseChecking)
	en.inventory = e.takeStock(ctx, log)
	if p := en.inventory.Problem; p != "" {
		log.Warn("package manager not asked", telemetry.KeyError, p)
	}
	log.Info("machine scanned", "manager", en.inventory.Manager, "pending", en.inventory.Pending, "security", en.inventory.Security)
	return ctx.Err()
}

func (e *executor) takeStock(ctx context.Context, log hclog.Logger) *api.Inventory {
	inv := e.system.Scan(ctx)
	installed, err := e.versions.Installed()
	if err != nil {
		log.Warn("installed artifacts not read", telemetry.KeyError, err)
	}
	inv.Artifacts = installed
	return inv
}

// updatePackage upgrades one package of the operating system. The system's own
// sources and their signatures decide what it becomes, so a machine's owner
// has to have allowed it.
func (e *executor) updatePackage(ctx context.Context, log hclog.Logger, en *entry) error {
	if !e.osUpdates {
		return api.Failf(api.ErrorRefused, "this machine does not let RedFlag update its packages; its agent would have to run with --os-updates")
	}
	if err := en.Command.Kind.CheckSubject(en.Command.Artifact, en.Command.Version); err != nil {
		return err
	}
	if err := e.pointOfNoReturn(ctx); err != nil {
		return err
	}
	e.phase(api.PhaseInstalling)
	said := &process.Tail{}
	steady := context.WithoutCancel(ctx) // a package manager is not torn by a shutdown
	err := e.system.Upgrade(steady, en.Command.Artifact, en.Command.Version, said)
	en.Log = &api.ExecutionLog{Stdout: said.String()}
	if err != nil {
		return err
	}
	e.phase(api.PhaseChecking)
	en.inventory = e.takeStock(steady, log)
	return nil
}
