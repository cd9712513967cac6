package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/telemetry"
	"redflag/trust"
)

// install brings an artifact to the command's version. Every step can be
// repeated: after a crash the command starts over and finds what is done.
func (e *executor) install(ctx context.Context, log hclog.Logger, en *entry) error {
	cmd := en.Command
	if err := api.CheckID("artifact", cmd.Artifact); err != nil {
		return err
	}
	if err := api.CheckID("version", cmd.Version); err != nil {
		return err
	}
	cur, err := e.versions.current(cmd.Artifact)
	if err != nil {
		return err
	}
	order := 1
	if cur != nil {
		if order, err = trust.CompareVersions(cmd.Version, cur.Version); err != nil {
			return err
		}
		if order < 0 {
			return failf(api.ErrorDowngrade, "%s %s is older than the installed %s", cmd.Artifact, cmd.Version, cur.Version)
		}
	}
	target, err := e.verify(ctx, log, cmd)
	if err != nil {
		return err
	}
	if order == 0 {
		if target.SHA256 != cur.SHA256 {
			return failf(api.ErrorVerify, "%s %s is installed with other content than was signed", cmd.Artifact, cur.Version)
		}
		log.Info("version is installed already")
		e.tidy(log, cmd.Artifact)
		return nil
	}
	if err := e.download(ctx, log, en, target); err != nil {
		return err
	}
	return e.put(ctx, log, target)
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
	if t.Custom.Name != cmd.Artifact || t.Custom.Version != cmd.Version {
		return t, failf(api.ErrorVerify, "the signed target is %s %s, the command names %s %s",
			t.Custom.Name, t.Custom.Version, cmd.Artifact, cmd.Version)
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
	en.Transfer = before
	if err != nil {
		return err
	}
	log.Info("payload downloaded", "length", t.Length, "from_peers", before.FromPeers,
		"from_nodes", before.FromNodes, "took", time.Since(began).Round(time.Millisecond).String())
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
		return got, failf(api.ErrorNetwork, "download: %w", stalled)
	}
	if c := classOf(err); c == api.ErrorDisk || c == api.ErrorVerify {
		return got, fmt.Errorf("download: %w", err)
	}
	return got, failf(api.ErrorNetwork, "download: %w", err)
}

// sum adds up what came; what is there only grows.
func sum(before, now api.Transfer) api.Transfer {
	now.Total, now.Done = max(before.Total, now.Total), max(before.Done, now.Done)
	now.FromPeers += before.FromPeers
	now.FromNodes += before.FromNodes
	now.ToPeers += before.ToPeers
	return now
}

// put copies the payload out of the swarm's store, which anything on this
// machine may have touched, and makes it current only if it is the signed one.
func (e *executor) put(ctx context.Context, log hclog.Logger, t trust.Target) error {
	e.phase(api.PhaseInstalling)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	err := e.versions.install(recordOf(t), func(w io.Writer) error {
		src, err := e.payloads.open(t.Custom.InfoHash)
		if err != nil {
			return err
		}
		defer src.Close()
		if err := trust.CopyVerified(w, src, t.Length, t.SHA256); err != nil {
			return err
		}
		return e.pointOfNoReturn(ctx)
	})
	if err != nil {
		e.clean(log, t, err)
		return err
	}
	e.tidy(log, t.Custom.Name)
	return nil
}

func recordOf(t trust.Target) record {
	return record{
		Name: t.Custom.Name, Version: t.Custom.Version, FileName: t.Custom.FileName,
		Length: t.Length, SHA256: t.SHA256, InfoHash: t.Custom.InfoHash,
	}
}

// clean gives back the disk that a failed install holds. A payload that is
// not what was signed must not be served to others either.
func (e *executor) clean(log hclog.Logger, t trust.Target, cause error) {
	if err := e.versions.discard(t.Custom.Name); err != nil {
		log.Warn("staged version not removed", telemetry.KeyError, err)
	}
	if c := classOf(cause); c != api.ErrorVerify && c != api.ErrorDisk {
		return
	}
	if err := e.payloads.remove(t.Custom.InfoHash); err != nil {
		log.Warn("payload not removed", telemetry.KeyError, err)
	}
}

// tidy removes versions and payloads that nothing needs any more. The install
// has succeeded whether or not that works.
func (e *executor) tidy(log hclog.Logger, name string) {
	if err := e.versions.prune(name); err != nil {
		log.Warn("old versions not removed", telemetry.KeyError, err)
	}
	keep, err := e.versions.payloads()
	if err == nil {
		err = e.payloads.retain(keep)
	}
	if err != nil {
		log.Warn("old payloads not removed", telemetry.KeyError, err)
	}
}

// rollback goes back to the version before the current one.
func (e *executor) rollback(ctx context.Context, en *entry) error {
	name := en.Command.Artifact
	if err := api.CheckID("artifact", name); err != nil {
		return err
	}
	e.phase(api.PhaseInstalling)
	if en.Plan == "" {
		prev, err := e.versions.previous(name)
		if err != nil {
			return err
		}
		if prev == nil {
			return failf(api.ErrorNoPrevious, "there is no version of %s before the current one", name)
		}
		if v := en.Command.Version; v != "" && v != prev.Version {
			return failf(api.ErrorNoPrevious, "version %s of %s is not kept; a rollback goes to %s", v, name, prev.Version)
		}
		en.Plan = prev.Version
		if err := e.journal.note(en); err != nil {
			return err
		}
	}
	if err := e.pointOfNoReturn(ctx); err != nil {
		return err
	}
	return e.versions.switchTo(name, en.Plan)
}
