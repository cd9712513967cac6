package agent

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"

	"redflag/agent/install"
	"redflag/api"
	"redflag/telemetry"
	"redflag/trust"
)

// deltaFor returns the signed delta that leads from the installed version to
// target, if there is one and it is shorter.
func (e *executor) deltaFor(ctx context.Context, log hclog.Logger, target trust.Target, cur *install.Record) (trust.Target, bool) {
	if cur == nil {
		return trust.Target{}, false
	}
	path := api.DeltaPath(target.Custom.Name, target.Custom.Version, cur.SHA256)
	d, err := e.targets.target(ctx, path)
	if errors.Is(err, trust.ErrUnknownTarget) {
		return d, false
	}
	if err != nil {
		log.Warn("delta not looked for", telemetry.KeyError, err)
		return d, false
	}
	if !d.DeltaOf(&target, cur.SHA256) || d.Custom.Coding.From.Length != cur.Length || d.Length >= target.Length {
		log.Warn("delta not used: it does not fit what is installed", "path", path)
		return d, false
	}
	return d, true
}

// byDelta fetches a delta and makes the payload of it and of the installed
// version. Whatever goes wrong, the whole payload can still be fetched.
func (e *executor) byDelta(ctx context.Context, log hclog.Logger, en *entry, d trust.Target, cur *install.Record) error {
	// What is installed is looked at first: it may have been changed.
	base, done, err := e.contents.base(cur)
	if err != nil {
		return fmt.Errorf("read version %s: %w", cur.Version, err)
	}
	defer done()
	if err := e.download(ctx, log, en, d); err != nil {
		return err
	}
	e.phase(api.PhaseVerifying)
	patch, err := e.payloads.open(d.Custom.InfoHash)
	if err != nil {
		return err
	}
	defer patch.Close()
	if err := e.contents.rebuild(base, &untilDone{ctx, patch}, d.Custom.Coding); err != nil {
		return fmt.Errorf("apply delta from %s: %w", cur.Version, err)
	}
	log.Info("payload made by delta", "from_version", cur.Version, "delta_length", d.Length, "length", d.Custom.Coding.Length)
	return nil
}

// untilDone reads until the context ends.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (u *untilDone) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(p)
}
