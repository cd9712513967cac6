// Package publish is the operator's side of a release: hash, cut into pieces,
// upload to a node, sign, and make it an artifact.
//
// It owns the order of these steps. It must never run on a node: it holds the
// operator's signing keys in its hands.
package publish

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/p2p"
	"redflag/payload/archive"
	"redflag/trust"
	"redflag/trust/signing"
)

// maxMetadata bounds what is read of the cluster's metadata, in bytes.
const maxMetadata = 4 << 20

// signTries is how often signing is repeated when another operator was faster.
const signTries = 3

// Step names what a publication is busy with.
type Step string

// The steps, in order.
const (
	StepPack   Step = "pack"
	StepHash   Step = "hash"
	StepFetch  Step = "fetch" // an earlier version, to make a delta from
	StepDelta  Step = "delta"
	StepUpload Step = "upload"
	StepSign   Step = "sign"
)

// Publisher publishes to one cluster with one set of keys.
type Publisher struct {
	Client *api.Client
	Keys   *signing.Repository
	// Dir is the folder of Keys, where what waits for signatures is staged.
	Dir string
	// Role is the delegated role that signs; empty for targets itself.
	Role string
	// For says which machines may install it; nil for all. It is signed.
	For *api.TargetFor
	// Level is the zstd level for payloads and deltas, 0 to pack nothing.
	Level int
	// DeltaFrom names versions to make deltas from, and Deltas how many of the
	// newest earlier ones besides.
	DeltaFrom []string
	Deltas    int
	// Cache is a folder for what is made and fetched on the way; empty for the
	// system's.
	Cache string
	// Progress is told how far a step is, in bytes; nil to not be told.
	Progress func(step Step, done, total int64)
}

// InitTrust makes the operator's keys in dir and gives the cluster its root.
// An interrupted one is finished by calling it again. plan.Online is the
// cluster's to say.
func InitTrust(ctx context.Context, client *api.Client, dir string, plan signing.Plan, opts signing.Options) (*signing.Repository, error) {
	var status api.TrustStatus
	if err := client.Do(ctx, http.MethodGet, "/v1/trust", nil, &status); err != nil {
		return nil, err
	}
	repo, err := signing.Open(dir, opts)
	if err != nil {
		if _, taken := status.Versions["root"]; taken {
			return nil, api.Errorf(api.CodeConflict, "the cluster has a TUF root already, and its keys are not in %s", dir).
				WithHint("name the folder of its keys with --keys")
		}
		plan.Online = status.OnlineKey
		if repo, err = signing.Init(dir, plan, opts, time.Now()); err != nil {
			return nil, err
		}
	}
	if _, taken := status.Versions["root"]; taken {
		return repo, Sync(ctx, client, repo)
	}
	update := api.TrustUpdate{Root: repo.Root(), Targets: repo.Targets()}
	if err := client.Do(ctx, http.MethodPut, "/v1/trust", update, nil); err != nil {
		return nil, err
	}
	return repo, nil
}

// File publishes the file at path as version of name. how says how agents
// install it; nil means as a plain file. What an archive unpacks to is measured
// here, and signed. The payload is packed, and deltas are published beside it,
// where that makes the way shorter.
func (p *Publisher) File(ctx context.Context, path, name, version string, how *api.Install) (api.Artifact, error) {
	if err := errors.Join(api.CheckID("artifact", name), api.CheckID("version", version), trust.CheckVersion(version)); err != nil {
		return api.Artifact{}, err
	}
	if err := Sync(ctx, p.Client, p.Keys); err != nil {
		if api.CodeOf(err) == api.CodeNotFound {
			return api.Artifact{}, api.Errorf(api.CodeConflict, "the cluster has no TUF root yet").WithHint("redflag keys init")
		}
		return api.Artifact{}, err
	}
	if err := p.syncRole(ctx); err != nil {
		return api.Artifact{}, err
	}
	how, err := measured(path, how)
	if err != nil {
		return api.Artifact{}, err
	}
	work, err := os.MkdirTemp(p.Cache, "redflag-publish-*")
	if err != nil {
		return api.Artifact{}, fmt.Errorf("make a folder to work in: %w", err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // a leftover in the system's folder for such
	parts, err := p.parts(ctx, work, path, name, version, how)
	if err != nil {
		return api.Artifact{}, err
	}
	for _, part := range parts {
		if err := p.upload(ctx, part.path, part.target); err != nil {
			return api.Artifact{}, err
		}
	}
	return p.sign(ctx, targetsOf(parts))
}

func (p *Publisher) role() string { return cmp.Or(p.Role, trust.RoleTargets) }

// syncRole brings the local targets up to what the cluster has, so that they say
// who may sign a delegated role.
func (p *Publisher) syncRole(ctx context.Context) error {
	if p.Role == "" {
		return nil
	}
	return SyncTargets(ctx, p.Client, p.Keys)
}

// measured completes how with what the archive at path unpacks to.
func measured(path string, how *api.Install) (*api.Install, error) {
	if how == nil {
		return nil, nil //nolint:nilnil // a plain file needs no word
	}
	out := *how
	if k := how.Kind(); k == api.InstallArchive || k == api.InstallExec || out.UnpackedFiles > 0 {
		size, err := archive.Measure(path)
		if err != nil {
			return nil, api.Errorf(api.CodeInvalid, "%s: %v", path, err).
				WithHint("pack a tar, tar.gz, tar.zst or zip of plain files, folders and links that stay inside")
		}
		out.UnpackedSize, out.UnpackedFiles = max(size.Bytes, 1), size.Files
	}
	return &out, out.Validate()
}

// describe hashes the file and makes its torrent in one pass.
func (p *Publisher) describe(path, name, version string) (trust.Target, error) {
	f, length, err := open(path)
	if err != nil {
		return trust.Target{}, err
	}
	defer f.Close()
	sum := sha256.New()
	t, err := p2p.MakeTorrent(io.TeeReader(p.watch(StepHash, f, length), sum), length)
	if err != nil {
		return trust.Target{}, fmt.Errorf("hash %s: %w", path, err)
	}
	return trust.Target{
		Path: api.TargetPath(name, version), Length: length, SHA256: hex.EncodeToString(sum.Sum(nil)),
		Custom: api.TargetCustom{Name: name, Version: version, InfoHash: t.InfoHash, PieceLength: t.PieceLength},
	}, nil
}

func open(path string) (*os.File, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, api.Errorf(api.CodeInvalid, "the payload cannot be read: %v", err).WithHint("check the path and its permissions")
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = api.Errorf(api.CodeInvalid, "%s is not a file", path).WithHint("pack a folder into an archive first")
	case info.Size() == 0:
		err = api.Errorf(api.CodeInvalid, "%s is empty", path)
	}
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func (p *Publisher) upload(ctx context.Context, path string, t trust.Target) error {
	f, length, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if length != t.Length {
		return api.Errorf(api.CodeConflict, "%s changed while it was published", path).WithHint("publish it again")
	}
	return p.send(ctx, p.watch(StepUpload, f, length), t)
}

// send uploads the payload of a target.
func (p *Publisher) send(ctx context.Context, r io.Reader, t trust.Target) error {
	var up api.Upload
	if err := p.Client.Upload(ctx, "/v1/uploads/"+t.SHA256, r, t.Length, &up); err != nil {
		return err
	}
	if up.InfoHash != t.Custom.InfoHash || up.PieceLength != t.Custom.PieceLength {
		return api.Errorf(api.CodeConflict, "the node cuts the payload into other pieces than this binary").
			WithHint("use the redflag version that the node runs")
	}
	return nil
}

// sign adds the targets to the metadata in force and publishes it; the first
// is the artifact's own. The keys' own record moves on only once the cluster
// has acknowledged.
func (p *Publisher) sign(ctx context.Context, ts []trust.Target) (api.Artifact, error) {
	for try := 1; ; try++ {
		p.progress(StepSign, 0, 1)
		current, err := currentFile(ctx, p.Client, p.role())
		if err != nil {
			return api.Artifact{}, err
		}
		targets, err := p.signed(current, ts)
		if errors.Is(err, signing.ErrIncomplete) {
			return api.Artifact{}, p.stage(targets, ts, err)
		}
		if err != nil {
			return api.Artifact{}, err
		}
		var a api.Artifact
		err = p.Client.Do(ctx, http.MethodPost, "/v1/artifacts", publishRequest(p.role(), ts[0], targets), &a)
		if api.CodeOf(err) == api.CodeConflict && try < signTries {
			continue
		}
		if err != nil {
			return a, err
		}
		p.progress(StepSign, 1, 1)
		return a, p.Keys.CommitRole(p.role(), targets)
	}
}

// signed returns targets metadata that names ts: the one in force if it does so
// already, because they were published before, else a new one.
func (p *Publisher) signed(current []byte, ts []trust.Target) ([]byte, error) {
	if current != nil {
		in, err := p.Keys.Check(p.role(), current, time.Now())
		if err == nil && !slices.ContainsFunc(ts, func(t trust.Target) bool { return !t.Equal(in.Targets[t.Path]) }) {
			return current, nil
		}
	}
	targets, err := p.Keys.AddTargets(p.role(), current, ts, time.Now())
	if errors.Is(err, signing.ErrTargetExists) {
		return nil, api.Errorf(api.CodeConflict, "%s %s is published already, with other content", ts[0].Custom.Name, ts[0].Custom.Version).
			WithHint("give it a new version; a repeat must be packed at the same level")
	}
	return targets, err
}

// stage keeps what waits for other signers. The payload is uploaded by now, so
// that Push can finish from any of their machines. What is staged already, with
// whatever signatures it has, is not replaced by something else.
func (p *Publisher) stage(targets []byte, ts []trust.Target, incomplete error) error {
	dir := signing.StagedDir(p.Dir)
	staged := signing.Staged{Targets: targets}
	waiting, err := signing.ReadStaged(dir)
	if err != nil {
		return err
	}
	have := waiting.Targets
	if waiting.Root != nil {
		staged, err := trust.Parse[metadata.RootType](waiting.Root)
		if err != nil {
			return fmt.Errorf("staged %w", err)
		}
		inForce, err := trust.Parse[metadata.RootType](p.Keys.Root())
		if err != nil {
			return err
		}
		if staged.Signed.Version <= inForce.Signed.Version { // it was pushed from somebody else's copy
			waiting.Root = nil
		}
	}
	if p.Role == "" {
		waiting.Targets = nil
	} else {
		staged = signing.Staged{Roles: map[string][]byte{p.Role: targets}}
		have = waiting.Roles[p.Role]
		delete(waiting.Roles, p.Role)
	}
	incomplete = fmt.Errorf("%s is uploaded and staged in %s: %w", ts[0].Path, dir, incomplete)
	same, stale, err := compareStaged(have, targets, ts)
	switch {
	case err != nil:
		return err
	case same:
		return incomplete // as it is, with its signatures
	case !waiting.Empty() || !stale:
		return api.Errorf(api.CodeConflict, "something else is staged in %s and waits for its signers", dir).
			WithHint("have it signed and push it first: redflag keys sign, redflag keys push; or remove the folder to give it up")
	}
	if err := staged.Write(dir); err != nil {
		return err
	}
	return incomplete
}

// compareStaged reports whether a staged file names the same targets as the one
// that would take its place, and whether that is of a later version, so that the
// staged one can come to nothing any more. Nothing is stale.
func compareStaged(have, next []byte, ts []trust.Target) (same, stale bool, err error) {
	if have == nil {
		return false, true, nil
	}
	a, err := trust.Parse[metadata.TargetsType](have)
	if err != nil {
		return false, false, fmt.Errorf("staged %w", err)
	}
	b, err := trust.Parse[metadata.TargetsType](next)
	if err != nil {
		return false, false, err
	}
	if a.Signed.Version != b.Signed.Version {
		return false, a.Signed.Version < b.Signed.Version, nil
	}
	same = !slices.ContainsFunc(ts, func(t trust.Target) bool {
		x, y := a.Signed.Targets[t.Path], b.Signed.Targets[t.Path]
		return x == nil || y == nil || !x.Equal(*y) || (x.Custom == nil) != (y.Custom == nil) || x.Custom != nil && !bytes.Equal(*x.Custom, *y.Custom)
	})
	return same, false, nil
}

func (p *Publisher) progress(step Step, done, total int64) {
	if p.Progress != nil {
		p.Progress(step, done, total)
	}
}

func (p *Publisher) watch(step Step, r io.Reader, total int64) io.Reader {
	return &watched{r: r, tell: func(done int64) { p.progress(step, done, total) }}
}

// watched tells how much was read.
type watched struct {
	r    io.Reader
	done int64
	tell func(done int64)
}

// Read implements io.Reader.
func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if n > 0 {
		w.done += int64(n)
		w.tell(w.done)
	}
	return n, err
}
