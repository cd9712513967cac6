package signing_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/trust"
	"redflag/trust/online"
	"redflag/trust/signing"
	"redflag/trust/trusttest"
)

func initKeys(t *testing.T, dir string, now time.Time) *signing.Repository {
	t.Helper()
	_, public, err := online.NewKey()
	require.NoError(t, err)
	r, err := signing.Init(dir, signing.Plan{Online: public}, signing.Options{}, now)
	require.NoError(t, err)
	require.NoError(t, trust.CheckOnlineKey(r.Root(), public))
	return r
}

func target(version, payload string) trust.Target {
	return trusttest.Target("app", version, "app", []byte(payload), "0123456789abcdef0123456789abcdef01234567", 1<<18)
}

// add signs and commits, as after an acknowledgement.
func add(t *testing.T, r *signing.Repository, version string) []byte {
	t.Helper()
	signed, err := r.AddTarget(r.Targets(), target(version, version), time.Now())
	require.NoError(t, err)
	require.NoError(t, r.Commit(signed))
	return signed
}

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "operator")
	r := initKeys(t, dir, time.Now())
	for _, name := range []string{"root.pem", "targets.pem"} {
		info, err := os.Stat(filepath.Join(dir, "keys", name))
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	}
	summary, err := trust.CheckTargets(r.Root(), r.Targets(), time.Now())
	require.NoError(t, err)
	require.Equal(t, int64(1), summary.Version)
	require.Empty(t, summary.Targets)

	again, err := signing.Open(dir, signing.Options{})
	require.NoError(t, err)
	require.Equal(t, r.Root(), again.Root())
	require.Equal(t, r.Targets(), again.Targets())

	_, public, err := online.NewKey()
	require.NoError(t, err)
	_, err = signing.Init(dir, signing.Plan{Online: public}, signing.Options{}, time.Now())
	require.ErrorIs(t, err, signing.ErrKeysExist)
	_, err = signing.Init(t.TempDir(), signing.Plan{Online: []byte("no key")}, signing.Options{}, time.Now())
	require.Error(t, err)
}

func TestOpenWithoutKeys(t *testing.T) {
	_, err := signing.Open(t.TempDir(), signing.Options{})
	require.ErrorIs(t, err, signing.ErrNoKeys)
	require.ErrorContains(t, err, "redflag keys init")

	dir := t.TempDir()
	initKeys(t, dir, time.Now())
	require.NoError(t, os.Remove(filepath.Join(dir, "keys", "root.pem")))
	_, err = signing.Open(dir, signing.Options{})
	require.NoError(t, err, "the root key can be kept elsewhere")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "keys", "targets.pem"), []byte("rubbish"), 0o600))
	r, err := signing.Open(dir, signing.Options{})
	require.NoError(t, err)
	_, err = r.AddTarget(nil, target("1.0", "one"), time.Now())
	require.ErrorContains(t, err, "PKCS #8")
	require.NoError(t, os.Remove(filepath.Join(dir, "keys", "targets.pem")))
	_, err = r.AddTarget(nil, target("1.0", "one"), time.Now())
	require.ErrorIs(t, err, signing.ErrNoKeys)
}

func TestAddTarget(t *testing.T) {
	dir := t.TempDir()
	r := initKeys(t, dir, time.Now())
	signed, err := r.AddTarget(nil, target("1.0", "one"), time.Now())
	require.NoError(t, err)
	require.NotEqual(t, signed, r.Targets(), "nothing is stored before it is acknowledged")
	require.NoError(t, r.Commit(signed))

	_, err = r.AddTarget(nil, target("1.0", "other"), time.Now())
	require.ErrorIs(t, err, signing.ErrTargetExists)
	again, err := r.AddTarget(nil, target("1.0", "one"), time.Now())
	require.NoError(t, err, "publishing the same again is a repeat, not a change")
	summary, err := trust.CheckTargets(r.Root(), again, time.Now())
	require.NoError(t, err)
	require.Equal(t, int64(3), summary.Version)

	_, err = r.AddTarget(nil, target("latest", "one"), time.Now())
	require.ErrorIs(t, err, trust.ErrMalformed)

	reopened, err := signing.Open(dir, signing.Options{})
	require.NoError(t, err)
	require.Equal(t, signed, reopened.Targets())
}

func TestAddTargetOnWhatTheClusterHas(t *testing.T) {
	now := time.Now()
	dir, elsewhere := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	r := initKeys(t, dir, now)
	first := add(t, r, "1.0")
	require.NoError(t, os.CopyFS(elsewhere, os.DirFS(dir)))
	second := add(t, r, "2.0")

	colleague, err := signing.Open(elsewhere, signing.Options{})
	require.NoError(t, err)
	third, err := colleague.AddTarget(second, target("3.0", "3.0"), now)
	require.NoError(t, err)
	requireVersions(t, r, third, 4, "1.0", "2.0", "3.0")

	third, err = r.AddTarget(first, target("3.0", "3.0"), now)
	require.NoError(t, err)
	requireVersions(t, r, third, 4, "1.0", "2.0", "3.0") // a server cannot take 2.0 back

	stranger := initKeys(t, t.TempDir(), now)
	_, err = r.AddTarget(add(t, stranger, "9.0"), target("3.0", "3.0"), now)
	require.ErrorIs(t, err, trust.ErrSignature)
	_, err = r.AddTarget([]byte("{}"), target("3.0", "3.0"), now)
	require.ErrorIs(t, err, trust.ErrMalformed)

	require.ErrorIs(t, r.Commit(first), trust.ErrRollback)
	require.ErrorIs(t, r.Commit(stranger.Targets()), trust.ErrSignature)
	require.NoError(t, r.Commit(second), "a repeat is fine")
}

func requireVersions(t *testing.T, r *signing.Repository, targets []byte, version int64, names ...string) {
	t.Helper()
	summary, err := trust.CheckTargets(r.Root(), targets, time.Now())
	require.NoError(t, err)
	require.Equal(t, version, summary.Version)
	require.Len(t, summary.Targets, len(names))
	for _, name := range names {
		require.Contains(t, summary.Targets, "app/"+name)
	}
}

func TestExpiry(t *testing.T) {
	now := time.Now()
	dir := t.TempDir()
	initKeys(t, dir, now.Add(-100*24*time.Hour))
	r, err := signing.Open(dir, signing.Options{})
	require.NoError(t, err)
	_, err = trust.CheckTargets(r.Root(), r.Targets(), now)
	require.ErrorIs(t, err, trust.ErrExpired)
	renewed, err := r.AddTarget(nil, target("1.0", "one"), now)
	require.NoError(t, err)
	requireVersions(t, r, renewed, 2, "1.0")

	dir = t.TempDir()
	old := initKeys(t, dir, now.Add(-2*signing.RootLifetime))
	_, err = old.AddTarget(nil, target("1.0", "one"), now)
	require.ErrorIs(t, err, trust.ErrExpired, "an expired root is found out before anything is sent")
}
