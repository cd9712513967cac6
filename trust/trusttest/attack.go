package trusttest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/trust"
	"redflag/trust/internal/tufsign"
	"redflag/trust/online"
)

// Tamper breaks the signatures of the file served under name.
func (r *Repository) Tamper(name string) {
	r.tb.Helper()
	var file map[string]any
	require.NoError(r.tb, json.Unmarshal(r.File(name), &file))
	for _, s := range file["signatures"].([]any) {
		sig := []byte(s.(map[string]any)["sig"].(string))
		sig[0] = "123456789abcdef0"[sig[0]&0xf] // another digit, whichever it was
		s.(map[string]any)["sig"] = string(sig)
	}
	data, err := json.Marshal(file)
	require.NoError(r.tb, err)
	r.Put(name, data)
}

// RollBackTo serves the timestamp of an earlier version, and with it the
// snapshot and targets of its day.
func (r *Repository) RollBackTo(version int64) {
	r.tb.Helper()
	require.Contains(r.tb, r.past, version)
	r.Put("timestamp.json", r.past[version])
}

// Forge serves targets that name target, signed by a key that nobody trusts,
// under a genuine snapshot and timestamp: all that who steals a node can do.
func (r *Repository) Forge(target trust.Target) {
	r.tb.Helper()
	m, err := trust.Parse[metadata.TargetsType](r.current.Targets)
	require.NoError(r.tb, err)
	m.Signed.Version++
	m.Signed.Targets[target.Path] = fileOf(r.tb, target)
	forged, err := tufsign.Sign(m, newKey(r.tb))
	require.NoError(r.tb, err)
	r.serve(forged)
}

// Forgery says which keys a thief of targets keys has.
type Forgery string

// What ForgeWith signs with.
const (
	OneKey             Forgery = "one key where two must sign"
	RevokedKey         Forgery = "a key that the root has taken away"
	SameSignatureTwice Forgery = "one signature, listed twice"
	SameKeyTwice       Forgery = "one key under two ids"
)

// ForgeWith serves a root that asks for more than the thief has, and targets
// that name target, signed with what there is.
func (r *Repository) ForgeWith(target trust.Target, how Forgery) {
	r.tb.Helper()
	stolen, other := readKey(r.tb, filepath.Join(r.dir, "keys", "targets.pem")), newKey(r.tb)
	rootKey := readKey(r.tb, filepath.Join(r.dir, "keys", "root.pem"))
	version := r.rootVersion()
	root, err := trust.Parse[metadata.RootType](r.File(fmt.Sprintf("%d.root.json", version)))
	require.NoError(r.tb, err)
	root.Signed.Version++
	next, err := metadata.KeyFromPublicKey(other.Public())
	require.NoError(r.tb, err)
	switch how {
	case RevokedKey:
		replaceKey(r.tb, &root.Signed, metadata.TARGETS, other)
	case SameKeyTwice:
		twin, err := metadata.KeyFromPublicKey(stolen.Public())
		require.NoError(r.tb, err)
		twin.UnrecognizedFields = map[string]any{"twin": true}
		require.NoError(r.tb, root.Signed.AddKey(twin, metadata.TARGETS))
		root.Signed.Roles[metadata.TARGETS].Threshold = 2
	default:
		require.NoError(r.tb, root.Signed.AddKey(next, metadata.TARGETS))
		root.Signed.Roles[metadata.TARGETS].Threshold = 2
	}
	file, err := tufsign.Sign(root, rootKey)
	require.NoError(r.tb, err)
	r.Put(fmt.Sprintf("%d.root.json", version+1), file)

	m, err := trust.Parse[metadata.TargetsType](r.current.Targets)
	require.NoError(r.tb, err)
	m.Signed.Version++
	m.Signed.Targets[target.Path] = fileOf(r.tb, target)
	forged, err := tufsign.Sign(m, stolen)
	require.NoError(r.tb, err)
	twice := m.Signatures[0]
	if how == SameKeyTwice {
		for _, id := range root.Signed.Roles[metadata.TARGETS].KeyIDs {
			if id != m.Signatures[0].KeyID {
				twice.KeyID = id
			}
		}
		m.Signatures = append(m.Signatures, twice)
		forged, err = m.ToBytes(false)
		require.NoError(r.tb, err)
	}
	r.serve(forged)
	if how == SameSignatureTwice {
		m.Signatures = append(m.Signatures, twice)
		forged, err = m.ToBytes(false)
		require.NoError(r.tb, err)
		r.swapTargets(m.Signed.Version, forged)
	}
}

// swapTargets serves a file under a snapshot that names it by version alone.
func (r *Repository) swapTargets(version int64, file []byte) {
	r.tb.Helper()
	r.Put(fmt.Sprintf("%d.targets.json", version), file)
	snapshot, err := trust.Parse[metadata.SnapshotType](r.current.Snapshot)
	require.NoError(r.tb, err)
	SignOnline(r, fmt.Sprintf("%d.snapshot.json", snapshot.Signed.Version), func(s *metadata.SnapshotType) {
		s.Meta["targets.json"] = metadata.MetaFile(version)
	})
	SignOnline(r, "timestamp.json", func(s *metadata.TimestampType) {
		s.Meta["snapshot.json"] = metadata.MetaFile(snapshot.Signed.Version)
	})
}

// PublishTarget signs a target as the operator does.
func (r *Repository) PublishTarget(target trust.Target) {
	r.tb.Helper()
	targets, err := r.keys.AddTarget(nil, target, r.now)
	require.NoError(r.tb, err)
	require.NoError(r.tb, r.keys.Commit(targets))
	r.serve(targets)
}

// SignOnline serves a snapshot or timestamp after change, signed by the genuine
// online key: what who steals a node can do to these two.
func SignOnline[T metadata.Roles](r *Repository, name string, change func(*T)) {
	r.tb.Helper()
	m, err := trust.Parse[T](r.File(name))
	require.NoError(r.tb, err)
	change(&m.Signed)
	data, err := tufsign.Sign(m, r.online)
	require.NoError(r.tb, err)
	r.Put(name, data)
}

// RotateRoot serves the next root, which replaces the root key and, if asked,
// the online key.
func (r *Repository) RotateRoot(replaceOnline bool) {
	r.tb.Helper()
	path := filepath.Join(r.dir, "keys", "root.pem")
	old, next := readKey(r.tb, path), newKey(r.tb)
	version := r.rootVersion()
	m, err := trust.Parse[metadata.RootType](r.File(fmt.Sprintf("%d.root.json", version)))
	require.NoError(r.tb, err)
	m.Signed.Version++
	replaceKey(r.tb, &m.Signed, metadata.ROOT, next)
	if replaceOnline {
		r.online = newKey(r.tb)
		replaceKey(r.tb, &m.Signed, metadata.SNAPSHOT, r.online)
		replaceKey(r.tb, &m.Signed, metadata.TIMESTAMP, r.online)
	}
	root, err := tufsign.Sign(m, old, next)
	require.NoError(r.tb, err)
	writeKey(r.tb, path, next)
	r.Put(fmt.Sprintf("%d.root.json", version+1), root)
	r.serve(r.current.Targets)
}

// Restart forgets snapshot and timestamp, so that the next ones are version 1
// again, as after a loss of the nodes' state.
func (r *Repository) Restart() {
	r.tb.Helper()
	r.current = online.Current{Targets: r.current.Targets}
	r.serve(r.current.Targets)
}

// Delegate serves target under a role that the operator lets sign what pattern
// matches, whether or not that is the target: all that who steals the role's key and
// a node can do.
func (r *Repository) Delegate(role, pattern string, target trust.Target) {
	r.tb.Helper()
	signer := newKey(r.tb)
	m, err := trust.Parse[metadata.TargetsType](r.current.Targets)
	require.NoError(r.tb, err)
	m.Signed.Version++
	m.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	delegate(r.tb, m.Signed.Delegations, role, pattern, signer)
	targets, err := tufsign.Sign(m, readKey(r.tb, filepath.Join(r.dir, "keys", "targets.pem")))
	require.NoError(r.tb, err)
	r.serve(targets)

	d := metadata.Targets(m.Signed.Expires)
	d.Signed.Targets[target.Path] = fileOf(r.tb, target)
	r.putDelegated(role, d, signer)
	r.nameDelegated(role)
}

// ServeRole serves a file of a delegated role, under a new snapshot and timestamp
// and the targets that the operator has signed last.
func (r *Repository) ServeRole(role string, file []byte) {
	r.tb.Helper()
	r.Put(fmt.Sprintf("%d.%s.json", versionOf(r.tb, file), role), file)
	r.current.Roles = map[string][]byte{role: file}
	r.serve(r.keys.Targets())
}

func (r *Repository) rootVersion() int64 {
	version := int64(1)
	for r.File(fmt.Sprintf("%d.root.json", version+1)) != nil {
		version++
	}
	return version
}

func versionOf(tb testing.TB, targets []byte) int64 {
	tb.Helper()
	m, err := trust.Parse[metadata.TargetsType](targets)
	require.NoError(tb, err)
	return m.Signed.Version
}

func fileOf(tb testing.TB, target trust.Target) *metadata.TargetFiles {
	tb.Helper()
	sum, err := hex.DecodeString(target.SHA256)
	require.NoError(tb, err)
	custom, err := json.Marshal(target.Custom)
	require.NoError(tb, err)
	raw := json.RawMessage(custom)
	return &metadata.TargetFiles{Length: target.Length, Hashes: metadata.Hashes{"sha256": sum}, Custom: &raw}
}

func replaceKey(tb testing.TB, root *metadata.RootType, role string, next crypto.Signer) {
	tb.Helper()
	for _, id := range root.Roles[role].KeyIDs {
		require.NoError(tb, root.RevokeKey(id, role))
	}
	key, err := metadata.KeyFromPublicKey(next.Public())
	require.NoError(tb, err)
	require.NoError(tb, root.AddKey(key, role))
}

func newKey(tb testing.TB) crypto.Signer {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(tb, err)
	return key
}

func readKey(tb testing.TB, path string) crypto.Signer {
	tb.Helper()
	text, err := os.ReadFile(path)
	require.NoError(tb, err)
	block, _ := pem.Decode(text)
	require.NotNil(tb, block)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	require.NoError(tb, err)
	return key.(crypto.Signer)
}

func writeKey(tb testing.TB, path string, key crypto.Signer) {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(tb, err)
	require.NoError(tb, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
}

// DelegateTwice serves two roles that the operator delegates their own paths to,
// and that both delegate on to a role of one name, each with a key of its own.
// That role is signed with the first one's key alone and names both targets: the
// second delegator has vouched for nothing.
func (r *Repository) DelegateTwice(role string, first, second trust.Target) {
	r.tb.Helper()
	shared := newKey(r.tb)
	files := map[string]*metadata.Metadata[metadata.TargetsType]{}
	targets, err := trust.Parse[metadata.TargetsType](r.current.Targets)
	require.NoError(r.tb, err)
	targets.Signed.Version++
	targets.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
	delegatorKey := newKey(r.tb)
	for name, path := range map[string]string{"one": first.Path, "two": second.Path} {
		delegate(r.tb, targets.Signed.Delegations, name, path, delegatorKey)
		m := metadata.Targets(targets.Signed.Expires)
		m.Signed.Delegations = &metadata.Delegations{Keys: map[string]*metadata.Key{}}
		signer := shared
		if name == "two" {
			signer = newKey(r.tb)
		}
		delegate(r.tb, m.Signed.Delegations, role, path, signer)
		files[name] = m
	}
	signed, err := tufsign.Sign(targets, readKey(r.tb, filepath.Join(r.dir, "keys", "targets.pem")))
	require.NoError(r.tb, err)
	r.serve(signed)
	for name, m := range files {
		r.putDelegated(name, m, delegatorKey)
	}
	m := metadata.Targets(targets.Signed.Expires)
	for _, t := range []trust.Target{first, second} {
		m.Signed.Targets[t.Path] = fileOf(r.tb, t)
	}
	r.putDelegated(role, m, shared)
	r.nameDelegated("one", "two", role)
}

func delegate(tb testing.TB, d *metadata.Delegations, role, path string, signer crypto.Signer) {
	tb.Helper()
	key, err := metadata.KeyFromPublicKey(signer.Public())
	require.NoError(tb, err)
	id, err := key.ID()
	require.NoError(tb, err)
	d.Keys[id] = key
	d.Roles = append(d.Roles, metadata.DelegatedRole{Name: role, KeyIDs: []string{id}, Threshold: 1, Terminating: true, Paths: []string{path}})
}

func (r *Repository) putDelegated(role string, m *metadata.Metadata[metadata.TargetsType], signer crypto.Signer) {
	r.tb.Helper()
	file, err := tufsign.Sign(m, signer)
	require.NoError(r.tb, err)
	r.Put("1."+url.PathEscape(role)+".json", file)
}

// nameDelegated names version 1 of roles in the snapshot in force.
func (r *Repository) nameDelegated(roles ...string) {
	r.tb.Helper()
	snapshot, err := trust.Parse[metadata.SnapshotType](r.current.Snapshot)
	require.NoError(r.tb, err)
	SignOnline(r, fmt.Sprintf("%d.snapshot.json", snapshot.Signed.Version), func(s *metadata.SnapshotType) {
		for _, role := range roles {
			s.Meta[role+".json"] = metadata.MetaFile(1)
		}
	})
	SignOnline(r, "timestamp.json", func(s *metadata.TimestampType) {
		s.Meta["snapshot.json"] = metadata.MetaFile(snapshot.Signed.Version)
	})
}
