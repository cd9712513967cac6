package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/durable"
	"redflag/p2p"
	"redflag/telemetry"
	"redflag/trust"
)

const (
	// uploadTTL is how long an upload waits for its signed metadata.
	uploadTTL = 24 * time.Hour
	// receivingPrefix marks an upload under way, and torrentSuffix the torrent
	// of a whole one.
	receivingPrefix = "receiving-"
	torrentSuffix   = ".torrent.json"
)

func (n *Node) uploadsDir() string { return filepath.Join(n.cfg.DataDir, "uploads") }

// upload takes a payload in. It is only bytes with a hash until signed
// metadata names it. Uploading the same bytes again is harmless.
func (n *Node) upload(r *http.Request) (any, error) {
	want := r.PathValue("sha256")
	if b, err := hex.DecodeString(want); err != nil || len(b) != sha256.Size {
		return nil, api.Errorf(api.CodeInvalid, "%q is not a SHA-256 in hex", want)
	}
	limit := n.state().Settings().Bytes(api.SettingPayloadMax)
	tooLarge := api.Errorf(api.CodeTooLarge, "the payload is larger than %s", api.Bytes(limit)).
		WithHint("raise the setting %s", api.SettingPayloadMax)
	switch {
	case r.ContentLength < 0:
		return nil, api.Errorf(api.CodeInvalid, "the upload says no Content-Length")
	case r.ContentLength == 0:
		return nil, api.Errorf(api.CodeInvalid, "the payload is empty")
	case r.ContentLength > limit:
		return nil, tooLarge
	}
	free, _, err := diskSpace(n.cfg.DataDir)
	if err == nil && r.ContentLength > free-minDiskFree {
		return nil, api.Errorf(api.CodeTooLarge, "node %s has %s of disk left", n.cfg.ID, api.Bytes(free)).
			WithHint("free disk in its data directory, or publish through another node")
	}
	up, err := n.store(r.Context(), io.LimitReader(r.Body, r.ContentLength), r.ContentLength, want)
	if errors.Is(err, syscall.ENOSPC) {
		return nil, api.Errorf(api.CodeTooLarge, "node %s ran out of disk", n.cfg.ID).WithHint("free disk in its data directory")
	}
	return up, err
}

// store writes, hashes and cuts into pieces in one pass.
func (n *Node) store(ctx context.Context, body io.Reader, length int64, want string) (api.Upload, error) {
	tmp, err := os.CreateTemp(n.uploadsDir(), receivingPrefix+"*")
	if err != nil {
		return api.Upload{}, fmt.Errorf("take upload: %w", err)
	}
	defer os.Remove(tmp.Name()) //nolint:errcheck // after the rename there is nothing to remove
	defer tmp.Close()
	sum := sha256.New()
	torrent, err := p2p.MakeTorrent(io.TeeReader(body, io.MultiWriter(tmp, sum)), length)
	if err != nil {
		if ctx.Err() != nil || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, os.ErrDeadlineExceeded) {
			return api.Upload{}, api.Errorf(api.CodeInvalid, "the upload ended early")
		}
		return api.Upload{}, fmt.Errorf("take upload: %w", err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return api.Upload{}, api.Errorf(api.CodeInvalid, "the upload's SHA-256 is %s, not %s", got, want).
			WithHint("the file changed or was damaged on the way: publish it again")
	}
	if err := tmp.Sync(); err != nil {
		return api.Upload{}, fmt.Errorf("sync upload: %w", err)
	}
	if err := n.keepUpload(tmp.Name(), want, torrent); err != nil {
		return api.Upload{}, fmt.Errorf("keep upload: %w", err)
	}
	return api.Upload{Length: length, SHA256: want, InfoHash: torrent.InfoHash, PieceLength: torrent.PieceLength}, nil
}

// keepUpload puts an upload where publish finds it, its torrent first.
func (n *Node) keepUpload(tmp, sum string, t p2p.Torrent) error {
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	path := filepath.Join(n.uploadsDir(), sum)
	if err := durable.WriteFile(path+torrentSuffix, b, 0o600); err != nil {
		return err
	}
	return durable.Rename(tmp, path)
}

// dropHalfUploads removes what a crash left of uploads under way.
func (n *Node) dropHalfUploads() error {
	half, err := filepath.Glob(filepath.Join(n.uploadsDir(), receivingPrefix+"*"))
	if err != nil {
		return err
	}
	for _, path := range half {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("drop half an upload: %w", err)
		}
	}
	return nil
}

// sweepUploads removes uploads that never got their metadata.
func (n *Node) sweepUploads(now time.Time) {
	entries, err := os.ReadDir(n.uploadsDir())
	if err != nil {
		return
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > uploadTTL {
			_ = os.Remove(filepath.Join(n.uploadsDir(), e.Name()))
		}
	}
}

// listArtifacts pages by name and version.
func (n *Node) listArtifacts(r *http.Request) (any, error) {
	limit, err := pageLimit(r)
	if err != nil {
		return nil, err
	}
	after := r.URL.Query().Get("after")
	name, version, ok := strings.Cut(after, "/")
	if after != "" && (!ok || !api.ValidID(name) || !api.ValidID(version)) {
		return nil, notACursor(after)
	}
	return newPage(n.state().ArtifactsAfter(name, version, limit), limit, func(a api.Artifact) string { return a.Name + "/" + a.Version }), nil
}

// publish makes an uploaded payload an artifact: the targets metadata that
// names it is checked against the root, snapshot and timestamp are signed,
// and everything is replicated in one entry.
func (n *Node) publish(r *http.Request) (any, error) {
	var req api.PublishRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := errors.Join(api.CheckID("artifact", req.Name), api.CheckID("version", req.Version)); err != nil {
		return nil, err
	}
	summary, named, err := n.checkTargets(req.Role, req.Targets)
	if err != nil {
		return nil, err
	}
	target, ok := summary.Targets[api.TargetPath(req.Name, req.Version)]
	if !ok {
		return nil, api.Errorf(api.CodeInvalid, "the signed targets do not name %s %s", req.Name, req.Version)
	}
	known, exists := n.state().Artifact(req.Name, req.Version)
	if exists && known.SHA256 != target.SHA256 {
		return nil, api.Errorf(api.CodeConflict, "%s %s is published already, with other content", req.Name, req.Version).
			WithHint("give it a new version")
	}
	artifact, ours := n.artifactOf(target, summary)
	for _, t := range ours {
		if err := n.seedUpload(t); err != nil {
			return nil, err
		}
	}
	if exists && !addsDeltas(known, artifact) { // once more, perhaps because the first seed was lost
		return known, nil
	}
	err = n.signAndPropose(r.Context(), named, func(m signedMetadata) (state.EntryType, any) {
		return state.TypePublishArtifact, state.PublishArtifact{
			Artifact: artifact,
			Targets:  state.Metadata{Version: summary.Version, Bytes: req.Targets},
			Snapshot: m.snapshot, Timestamp: m.timestamp, Role: req.Role,
		}
	})
	if err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("artifact published", "artifact", req.Name, "version", req.Version,
		"length", target.Length, "sha256", target.SHA256, "info_hash", target.Custom.InfoHash, "role", req.Role)
	return artifact, nil
}

// artifactOf is what target and the deltas that were signed for it become.
// ours are all of these targets.
func (n *Node) artifactOf(target trust.Target, signed trust.TargetsSummary) (a api.Artifact, ours []trust.Target) {
	a = api.Artifact{
		Name: target.Custom.Name, Version: target.Custom.Version, Length: target.Length, SHA256: target.SHA256,
		InfoHash: target.Custom.InfoHash, PieceLength: target.Custom.PieceLength, Coding: target.Custom.Coding,
		PublishedAt: time.Now().UTC(), OriginNode: n.cfg.ID,
	}
	ours = append(ours, target)
	for _, t := range signed.Targets {
		c := t.Custom.Coding
		if c == nil || c.From == nil || !t.DeltaOf(&target, c.From.SHA256) || len(a.Deltas) == api.MaxDeltas {
			continue
		}
		ours = append(ours, t)
		a.Deltas = append(a.Deltas, api.Delta{
			FromVersion: c.From.Version, FromSHA256: c.From.SHA256, Length: t.Length, SHA256: t.SHA256,
			InfoHash: t.Custom.InfoHash, PieceLength: t.Custom.PieceLength,
		})
	}
	slices.SortFunc(a.Deltas, func(x, y api.Delta) int { return cmp.Compare(x.FromSHA256, y.FromSHA256) })
	return a, ours
}

// addsDeltas reports whether next has deltas that known has not.
func addsDeltas(known, next api.Artifact) bool {
	return slices.ContainsFunc(next.Deltas, func(d api.Delta) bool { return !slices.Contains(known.Deltas, d) })
}

// checkTargets verifies an operator's targets metadata, or that of a role which it
// delegates to, before it is let in. named is what a snapshot is to name then.
func (n *Node) checkTargets(role string, file []byte) (summary trust.TargetsSummary, named offline, err error) {
	root, ok := n.currentMetadata(state.RoleRoot)
	if !ok {
		return summary, named, noRoot()
	}
	if role == "" {
		named.targets = file
		summary, err = trust.CheckTargets(root, file, time.Now())
	} else {
		named.targets, _ = n.currentMetadata(state.RoleTargets)
		named.roles = map[string][]byte{role: file}
		summary, err = trust.CheckDelegated(named.targets, role, file, time.Now())
	}
	if err != nil {
		return summary, named, api.Errorf(api.CodeInvalid, "the targets metadata is refused: %v", err).
			WithHint("redflag keys status shows who may sign what")
	}
	return summary, named, nil
}

// seedUpload moves the payload of target into the swarm's store. It was hashed
// and cut into pieces when it came in; the signed info hash must be the same.
func (n *Node) seedUpload(t trust.Target) error {
	if n.swarm.Has(t.Custom.InfoHash) {
		return nil
	}
	path := filepath.Join(n.uploadsDir(), t.SHA256)
	b, err := os.ReadFile(path + torrentSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return api.Errorf(api.CodeNotFound, "node %s has no upload with SHA-256 %s", n.cfg.ID, t.SHA256).
			WithHint("upload the payload to this node first")
	}
	if err != nil {
		return fmt.Errorf("open upload: %w", err)
	}
	var torrent p2p.Torrent
	if err := json.Unmarshal(b, &torrent); err != nil {
		return fmt.Errorf("read torrent of upload: %w", err)
	}
	if torrent.InfoHash != t.Custom.InfoHash || torrent.PieceLength != t.Custom.PieceLength || torrent.Length != t.Length {
		return api.Errorf(api.CodeInvalid, "the signed info hash %s is not the payload's, %s", t.Custom.InfoHash, torrent.InfoHash)
	}
	err = n.swarm.Import(torrent, path)
	if errors.Is(err, p2p.ErrBusy) { // this node is waiting for these very bytes
		if err = n.swarm.Remove(torrent.InfoHash); err == nil {
			err = n.swarm.Import(torrent, path)
		}
	}
	if err != nil {
		return fmt.Errorf("seed upload: %w", err)
	}
	_ = os.Remove(path + torrentSuffix)
	return n.swarm.Seed(torrent.InfoHash, n.payloads.announce)
}
