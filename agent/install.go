package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/agent/install"
	"redflag/api"
	"redflag/p2p"
	"redflag/telemetry"
	"redflag/trust"
)

// install brings an artifact to the command's version. Every step can be
// repeated: after a crash the command starts over and finds what is done.
func (e *executor) install(ctx context.Context, log hclog.Logger, en *entry) error {
	if en.Install != nil {
		return e.carryOut(ctx, log, en)
	}
	cmd := en.Command
	if err := api.CheckID("artifact", cmd.Artifact); err != nil {
		return err
	}
	if err := api.CheckID("version", cmd.Version); err != nil {
		return err
	}
	cur, err := e.versions.Current(cmd.Artifact)
	if err != nil {
		return err
	}
	order := 1
	if cur != nil {
		if order, err = trust.CompareVersions(cmd.Version, cur.Version); err != nil {
			return err
		}
		if order < 0 {
			return api.Failf(api.ErrorDowngrade, "%s %s is older than the installed %s", cmd.Artifact, cmd.Version, cur.Version)
		}
	}
	target, err := e.verify(ctx, log, cmd)
	if err != nil {
		return err
	}
	if order == 0 {
		if _, signed := target.Content(); signed != cur.SHA256 {
			return api.Failf(api.ErrorVerify, "%s %s is installed with other content than was signed", cmd.Artifact, cur.Version)
		}
		log.Info("version is installed already")
		e.tidy(log, cmd.Artifact)
		return nil
	}
	record, err := e.obtain(ctx, log, en, target, cur)
	if err != nil {
		if !errors.Is(context.Cause(ctx), context.Canceled) { // the agent goes on, and may never get as far as an install
			e.tidy(log, cmd.Artifact, target.Custom.InfoHash)
		}
		return err
	}
	return e.put(ctx, log, en, record, cur)
}

// obtain fetches what target names, by the shortest way that works, and
// returns how it can be had from now on.
func (e *executor) obtain(ctx context.Context, log hclog.Logger, en *entry, target trust.Target, cur *install.Record) (install.Record, error) {
	record := recordOf(target)
	if d, ok := e.deltaFor(ctx, log, target, cur); ok {
		err := e.byDelta(ctx, log, en, d, cur)
		if err == nil {
			record.InfoHash, record.Coding = d.Custom.InfoHash, d.Custom.Coding
			return record, nil
		}
		if ctx.Err() != nil {
			return record, context.Cause(ctx)
		}
		log.Warn("delta not used, the whole payload is fetched", "from_version", cur.Version, telemetry.KeyError, err)
		if err := e.payloads.remove(d.Custom.InfoHash); err != nil {
			log.Warn("delta not removed", telemetry.KeyError, err)
		}
	}
	return record, e.download(ctx, log, en, target)
}

// verify returns the signed target that the command names.
func (e *executor) verify(ctx context.Context, log hclog.Logger, cmd api.Command) (t trust.Target, err error) {
	e.phase(api.PhaseVerifying)
	err = e.retry(ctx, log, func() error {
		t, err = e.targets.target(ctx, api.TargetPath(cmd.Artifact, cmd.Version))
		return err
	})
	if err != nil {
		return t, err
	}
	if cmd.Kind == api.KindUpdateAgent && t.Custom.Install.Kind() != api.InstallSelf {
		return t, api.Failf(api.ErrorVerify, "%s %s was not signed as a version of the agent; publish it with --type self", cmd.Artifact, cmd.Version)
	}
	if t.Custom.Name != cmd.Artifact || t.Custom.Version != cmd.Version {
		return t, api.Failf(api.ErrorVerify, "the signed target is %s %s, the command names %s %s",
			t.Custom.Name, t.Custom.Version, cmd.Artifact, cmd.Version)
	}
	here, err := e.machineFor(cmd.Artifact)
	if err != nil {
		return t, err
	}
	if err := t.AppliesTo(here); err != nil {
		return t, err
	}
	log.Info("signature verified", "sha256", t.SHA256, "length", t.Length)
	return t, nil
}

// download completes the payload in the swarm's store.
func (e *executor) download(ctx context.Context, log hclog.Logger, en *entry, t trust.Target) error {
	e.phase(api.PhaseDownloading)
	before := en.Transfer // of earlier attempts
	began := time.Now()
	err := e.retry(ctx, log, func() error {
		got, err := e.fetch(ctx, t, before)
		moved := got.Done > before.Done // verified bytes: what peers send in vain is no progress
		before = sum(before, got)
		if err != nil && moved {
			return &movedError{err}
		}
		return err
	})
	if length, _ := t.Content(); err == nil {
		before.Saved = max(0, length-t.Length)
	}
	en.Transfer = before
	if err != nil {
		return err
	}
	log.Info("payload downloaded", "length", t.Length, "from_peers", before.FromPeers,
		"from_nodes", before.FromNodes, "from_fallback", before.FromFallback, "saved", before.Saved, "took", time.Since(began).Round(time.Millisecond).String())
	return e.journal.note(en)
}

// fetch makes one attempt, and gives up when nothing has come for long.
func (e *executor) fetch(ctx context.Context, t trust.Target, before api.Transfer) (api.Transfer, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stalled := fmt.Errorf("nothing came for %s", e.patience)
	watch := time.AfterFunc(e.patience, func() { stop(stalled) })
	defer watch.Stop()
	var last api.Transfer
	got, err := e.payloads.fetch(ctx, t, func(now api.Transfer) {
		if now.Done != last.Done {
			watch.Reset(e.patience)
		}
		last = now
		e.transferred(sum(before, now))
	})
	if err == nil {
		return got, nil
	}
	if errors.Is(context.Cause(ctx), stalled) {
		return got, api.Failf(api.ErrorNetwork, "download: %w", stalled)
	}
	if c := classOf(err); c == api.ErrorDisk || c == api.ErrorVerify {
		return got, fmt.Errorf("download: %w", err)
	}
	return got, api.Failf(api.ErrorNetwork, "download: %w", err)
}

// sum adds up what came; what is there only grows.
func sum(before, now api.Transfer) api.Transfer {
	now.Total, now.Done = max(before.Total, now.Total), max(before.Done, now.Done)
	now.FromPeers += before.FromPeers
	now.FromNodes += before.FromNodes
	now.ToPeers += before.ToPeers
	now.FromOtherRegions += before.FromOtherRegions
	now.FromFallback += before.FromFallback
	return now
}

// put has the engine install what was downloaded: it copies the payload out of
// the swarm's store, which anything on this machine may have touched, and only
// the signed bytes get any further.
func (e *executor) put(ctx context.Context, log hclog.Logger, en *entry, record install.Record, cur *install.Record) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	en.Install = &install.Progress{New: record, Old: cur}
	return e.carryOut(ctx, log, en)
}

// carryOut brings the command's install to its outcome, from wherever an
// earlier life of this process has left it.
func (e *executor) carryOut(ctx context.Context, log hclog.Logger, en *entry) error {
	e.phase(api.PhaseInstalling)
	r := en.Install.New
	job := &install.Job{
		Progress: *en.Install, Log: log,
		Fill: func(w io.Writer) error {
			src, err := e.contents.open(&r)
			if err != nil {
				return err
			}
			defer src.Close()
			return trust.CopyVerified(w, src, r.Length, r.SHA256)
		},
		Save: func(p *install.Progress) error {
			progress, before := *p, en.Install
			en.Install = &progress
			err := e.journal.note(en)
			if err == nil {
				return nil
			}
			en.Install = before
			if before.Begun() {
				err = fmt.Errorf("%w: %w", errNotJournalled, err)
			}
			return err
		},
		Stop: e.stopping,
		Watch: func(s install.Stage) {
			log.Debug("install goes on", "stage", string(s))
			e.phase(phaseOf(s))
		},
		Begin: func() error { return e.pointOfNoReturn(ctx) },
	}
	err := e.engine.Run(ctx, job)
	stopped := err != nil && ctx.Err() != nil
	held := stopped && (errors.Is(err, context.Canceled) || errors.Is(context.Cause(ctx), context.Canceled))
	if errors.Is(err, install.ErrRestart) || errors.Is(err, errNotJournalled) || held {
		return err
	}
	if err != nil && !stopped && (classOf(err) == api.ErrorVerify || errors.Is(err, p2p.ErrDisk)) {
		// A payload that is not what was signed must not be served to others.
		if err := errors.Join(e.payloads.remove(r.InfoHash), e.contents.remove(&r)); err != nil {
			log.Warn("payload not removed", telemetry.KeyError, err)
		}
	}
	if err != nil && classOf(err) == api.ErrorDisk {
		e.tidy(log, r.Name, r.InfoHash) // what was fetched is there for the next try
	} else {
		e.tidy(log, r.Name)
	}
	return err
}

// errNotJournalled says that an install which has begun could not note how far
// it is. It goes on from the last note with the agent's next start: nobody may
// take it for ended meanwhile.
var errNotJournalled = errors.New("the journal cannot be written in the middle of an install")

// phaseOf says in an operator's words what a stage does.
func phaseOf(s install.Stage) api.Phase {
	switch s {
	case install.StageVerifying, install.StageProving, install.StageChecking, install.StageCommitting, install.StageCleaning:
		return api.PhaseChecking
	case install.StageReverting, install.StageRevertRebooting, install.StageRevertVerifying, install.StageFailing:
		return api.PhaseReverting
	default:
		return api.PhaseInstalling
	}
}

func recordOf(t trust.Target) install.Record {
	length, sum := t.Content()
	return install.Record{
		Name: t.Custom.Name, Version: t.Custom.Version, FileName: t.Custom.FileName,
		Length: length, SHA256: sum, InfoHash: t.Custom.InfoHash, Coding: t.Custom.Coding, Install: t.Custom.Install,
	}
}

// tidy removes versions and payloads that nothing needs any more, except those
// to keep, by info hash. The install has succeeded whether or not that works.
func (e *executor) tidy(log hclog.Logger, name string, keepToo ...string) {
	if err := e.versions.Prune(name); err != nil {
		log.Warn("old versions not removed", telemetry.KeyError, err)
	}
	keep, err := e.versions.Payloads()
	if err == nil {
		err = errors.Join(e.payloads.retain(append(keep, keepToo...)), e.contents.retain())
	}
	if err != nil {
		log.Warn("old payloads not removed", telemetry.KeyError, err)
	}
}

// rollback goes back to the version before the current one, by the way in
// which that one is installed, and through its health gate.
func (e *executor) rollback(ctx context.Context, log hclog.Logger, en *entry) error {
	if en.Install != nil {
		return e.carryOut(ctx, log, en)
	}
	name := en.Command.Artifact
	if err := api.CheckID("artifact", name); err != nil {
		return err
	}
	cur, err := e.versions.Current(name)
	if err != nil {
		return err
	}
	prev, err := e.versions.Previous(name)
	if err != nil {
		return err
	}
	if prev == nil {
		return api.Failf(api.ErrorNoPrevious, "there is no version of %s before the current one", name)
	}
	if v := en.Command.Version; v != "" && v != prev.Version {
		return api.Failf(api.ErrorNoPrevious, "version %s of %s is not kept; a rollback goes to %s", v, name, prev.Version)
	}
	en.Install = &install.Progress{New: *prev, Old: cur, Kept: true}
	return e.carryOut(ctx, log, en)
}
