package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"path/filepath"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"redflag/agent/install"
	"redflag/api"
	"redflag/telemetry"
	"redflag/trust/pki"

	"redflag/agent/system"
)

// Agent is one machine of the mesh.
type Agent struct {
	cfg Config
	log hclog.Logger
}

// New checks the configuration. It touches nothing on disk.
func New(cfg Config) (*Agent, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Agent{cfg: cfg, log: cfg.Logger}, nil
}

// Run enrols the machine once, then works until ctx ends, and returns nil
// then, and install.ErrRestart when Restart should be called, because an update
// has replaced the agent. Another error is final: the token was refused, the data directory is in
// use, or the disk does not hold what it should. Run may be called once.
func (a *Agent) Run(ctx context.Context) error {
	lock, err := lockDir(a.cfg.DataDir)
	if err != nil {
		return err
	}
	defer lock.Close()
	creds, err := a.membership(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	a.log = a.log.With(telemetry.KeyAgent, creds.Identity().ID, telemetry.KeyRegion, creds.Identity().Region)
	return a.work(ctx, creds)
}

// work composes the parts and runs them. On the way out the loops end first,
// because they use the swarm; the swarm next, because it still announces; the
// journal last.
func (a *Agent) work(ctx context.Context, creds *pki.Credentials) error {
	journal, err := openJournal(filepath.Join(a.cfg.DataDir, "journal.db"))
	if err != nil {
		return err
	}
	defer func() { _ = journal.close() }()
	store, err := install.OpenStore(filepath.Join(a.cfg.DataDir, "artifacts"))
	if err != nil {
		return err
	}
	store.Keep, store.Budget = a.cfg.KeepVersions, a.cfg.VersionsBudget
	clk, err := openClock(filepath.Join(a.cfg.DataDir, "clock.json"))
	if err != nil {
		return err
	}
	creds.UseClock(clk.now)
	member, err := newMembership(a.cfg.DataDir, creds, machineID(), clk, a.log)
	if err != nil {
		return err
	}
	known, err := loadLearnt(a.learntPath())
	if err != nil {
		a.log.Warn("learnt nodes and settings not read", telemetry.KeyError, err)
	}
	limits := newLimits(&a.cfg)
	limits.apply(known.Settings)

	id := creds.Identity()
	nodes := newNodeList(id.Region, a.cfg.Nodes, known.Nodes)
	mesh := a.newMesh(creds, nodes)
	mesh.timeout = min(callTimeout, a.cfg.Patience)
	defer mesh.close()
	source := newSource(nodes, func() *tls.Config { return creds.NodeClientTLS(pki.ALPNHTTP) }, limits)
	defer source.close()
	swarm := &swarm{cfg: &a.cfg, creds: creds, limits: limits, mesh: mesh, source: source, log: a.log.Named("swarm"), refused: member.refused}
	defer func() { _ = swarm.close() }()
	if err := a.resumeSwarm(ctx, swarm, store); err != nil {
		return err
	}

	logs, err := a.openLogs(id.ID, mesh)
	if err != nil {
		return err
	}
	defer a.closeLogs(logs)
	poller := &poller{
		trust: member,
		id:    id.ID, version: a.cfg.Version, mesh: mesh, journal: journal, versions: store,
		limits: limits, log: a.log, now: make(chan struct{}, 1), polled: make(chan struct{}), settings: known.Settings,
		keep:   func(l learnt) error { return l.save(a.learntPath()) },
		swarms: (&accounts{swarm: swarm}).now,
	}
	poller.proved = func() {
		if err := forgetStarts(a.cfg.DataDir); err != nil {
			a.log.Warn("count of starts not removed", telemetry.KeyError, err)
		}
	}
	signed := newSignatures(a.cfg.DataDir, mesh.metadata)
	signed.clock = clk.now
	poller.executor = newExecutor(journal, store, signed, swarm, a.log, poller.kick)
	if poller.executor.engine.Host, err = a.host(id.ID, poller); err != nil {
		return err
	}

	machine := &system.System{Metered: a.cfg.Metered}
	swarm.metered = func() bool { m := machine.LinkMetered(ctx); return m != nil && *m }
	poller.executor.system, poller.executor.osUpdates, poller.executor.allowReboot = machine, a.cfg.OSUpdates, a.cfg.AllowReboot
	poller.readiness = func() *api.Readiness { return readiness(ctx, a.cfg.DataDir, machine, a.cfg.Windows) }
	poller.executor.readiness = poller.readiness
	if poller.logs = logs; logs != nil {
		logs.apply(known.Settings.Settings())
	}
	poller.executor.refused, poller.executor.patience = member.refused, a.cfg.Patience

	a.log.Info("agent started", "version", a.cfg.Version)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return poller.run(ctx) })
	group.Go(func() error { return poller.executor.run(ctx) })
	group.Go(func() error { return mesh.probe(ctx) })
	group.Go(func() error { return mesh.heal(ctx) })
	group.Go(func() error { return limits.run(ctx) })
	group.Go(func() error { return swarm.keepSeeding(ctx) })
	group.Go(func() error { return limits.yieldTo(ctx, mesh.roundTrip) })
	if logs != nil {
		group.Go(func() error { return logs.run(ctx) })
	}
	err = group.Wait()
	a.log.Info("agent stopped")
	return err
}

// newMesh returns a way to the nodes with this machine's certificate, as it
// is at each dial.
func (a *Agent) newMesh(creds *pki.Credentials, nodes *nodeList) *mesh {
	return newMesh(nodes, func(addr string) *tls.Config { return creds.PollingTLS(addr, pki.ALPNHTTP) }, a.log)
}

func (a *Agent) resumeSwarm(ctx context.Context, s *swarm, store *install.Store) error {
	installed, err := store.Payloads()
	if err != nil {
		return err
	}
	if err := s.resume(ctx, installed); err != nil {
		return fmt.Errorf("give installed payloads to others: %w", err)
	}
	return nil
}

func (a *Agent) learntPath() string { return filepath.Join(a.cfg.DataDir, "learnt.json") }
