package trusttest

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust"
	"redflag/trust/online"
	"redflag/trust/signing"
)

// Repository is an operator with keys and a server of metadata in one. Fetch
// may be called from any goroutine, all else from the test's.
type Repository struct {
	tb      testing.TB
	now     time.Time
	dir     string // of the operator's keys
	keys    *signing.Repository
	online  crypto.Signer
	current online.Current

	mu    sync.Mutex
	files map[string][]byte
	past  map[int64][]byte // timestamps by version
}

// NewRepository returns a repository with no target: timestamp and snapshot are
// version 1.
func NewRepository(tb testing.TB) *Repository {
	tb.Helper()
	private, public, err := online.NewKey()
	require.NoError(tb, err)
	signer, err := online.ParseKey(private)
	require.NoError(tb, err)
	r := &Repository{
		tb: tb, now: time.Now(), dir: tb.TempDir(), online: signer,
		files: map[string][]byte{}, past: map[int64][]byte{},
	}
	r.keys, err = signing.Init(r.dir, signing.Plan{Online: public}, signing.Options{}, r.now)
	require.NoError(tb, err)
	r.Put("1.root.json", r.keys.Root())
	r.serve(r.keys.Targets())
	return r
}

// Clone returns a repository that goes on from where r is, with keys of the same
// names.
func (r *Repository) Clone(tb testing.TB) *Repository {
	tb.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	c := &Repository{
		tb: tb, now: r.now, dir: filepath.Join(tb.TempDir(), "keys"), online: r.online, current: r.current,
		files: maps.Clone(r.files), past: maps.Clone(r.past),
	}
	require.NoError(tb, os.CopyFS(c.dir, os.DirFS(r.dir)))
	var err error
	c.keys, err = signing.Open(c.dir, signing.Options{})
	require.NoError(tb, err)
	return c
}

// Target returns an unsigned target for payload.
func Target(name, version, fileName string, payload []byte, infoHash string, pieceLength int64) trust.Target {
	sum := sha256.Sum256(payload)
	return trust.Target{
		Path:   api.TargetPath(name, version),
		Length: int64(len(payload)),
		SHA256: hex.EncodeToString(sum[:]),
		Custom: api.TargetCustom{
			Name: name, Version: version, FileName: fileName,
			InfoHash: infoHash, PieceLength: pieceLength,
		},
	}
}

// Publish signs a target for payload and serves it: timestamp, snapshot and
// targets each go up by one version. It builds on what the operator signed, so
// it also ends a forgery.
func (r *Repository) Publish(name, version, fileName string, payload []byte, infoHash string, pieceLength int64) trust.Target {
	r.tb.Helper()
	target := Target(name, version, fileName, payload, infoHash, pieceLength)
	targets, err := r.keys.AddTarget(nil, target, r.now)
	require.NoError(r.tb, err)
	require.NoError(r.tb, r.keys.Commit(targets))
	r.serve(targets)
	return target
}

// serve makes targets the ones in force, under a new snapshot and timestamp.
func (r *Repository) serve(targets []byte) {
	r.tb.Helper()
	r.current.Targets = targets
	snapshot, timestamp, err := online.Sign(r.online, r.current, r.now)
	require.NoError(r.tb, err)
	r.current.Snapshot, r.current.Timestamp = snapshot.Bytes, timestamp.Bytes
	r.Put(fmt.Sprintf("%d.targets.json", versionOf(r.tb, targets)), targets)
	r.Put(fmt.Sprintf("%d.snapshot.json", snapshot.Version), snapshot.Bytes)
	r.Put("timestamp.json", timestamp.Bytes)
	r.past[timestamp.Version] = timestamp.Bytes
}

// Fetch is a trust.FetchFunc.
func (r *Repository) Fetch(_ context.Context, name string, _ int64) ([]byte, error) {
	data := r.File(name)
	if data == nil {
		return nil, fmt.Errorf("fetch %s: %w", name, fs.ErrNotExist)
	}
	return data, nil
}

// Root returns the first root metadata, to be pinned.
func (r *Repository) Root() []byte { return r.File("1.root.json") }

// Targets returns the signed targets metadata in force.
func (r *Repository) Targets() []byte { return r.current.Targets }

// Keys returns the operator's side.
func (r *Repository) Keys() *signing.Repository { return r.keys }

// File returns what is served under name, or nil.
func (r *Repository) File(name string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.files[name]
}

// Put serves data under name.
func (r *Repository) Put(name string, data []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files[name] = data
}

// Advance moves the repository's clock, which dates what it signs. Backwards is
// how to make metadata that has expired.
func (r *Repository) Advance(d time.Duration) { r.now = r.now.Add(d) }

// OnlineKey returns the public half of the nodes' key, PKIX DER.
func (r *Repository) OnlineKey() []byte {
	r.tb.Helper()
	public, err := x509.MarshalPKIXPublicKey(r.online.Public())
	require.NoError(r.tb, err)
	return public
}
