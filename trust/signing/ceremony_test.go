package signing_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/trust"
	"redflag/trust/online"
	"redflag/trust/signing"
)

// quick is a passphrase at a cost that a test can pay.
func quick(phrase string) signing.Options {
	return signing.Options{WorkFactor: 10, Passphrase: func() (string, error) { return phrase, nil }}
}

// twoOfThree makes three keys for root and targets each, two of which must
// sign, and gives each of three people one of either.
func twoOfThree(t *testing.T) (people [3]string, opts signing.Options) {
	t.Helper()
	_, public, err := online.NewKey()
	require.NoError(t, err)
	opts = quick("correct horse")
	all := t.TempDir()
	plan := signing.Plan{Online: public, Root: signing.Quorum{Keys: 3, Threshold: 2}, Targets: signing.Quorum{Keys: 3, Threshold: 2}}
	_, err = signing.Init(all, plan, opts, time.Now())
	require.NoError(t, err)
	for i := range people {
		people[i] = t.TempDir()
		require.NoError(t, os.CopyFS(people[i], os.DirFS(all)))
		for j := range people {
			if i == j {
				continue
			}
			mine, err := filepath.Glob(filepath.Join(people[i], "keys", "*-"+string(rune('1'+j))+".*"))
			require.NoError(t, err)
			for _, f := range mine {
				require.NoError(t, os.Remove(f))
			}
		}
	}
	return people, opts
}

func openAt(t *testing.T, dir string, opts signing.Options) *signing.Repository {
	t.Helper()
	r, err := signing.Open(dir, opts)
	require.NoError(t, err)
	return r
}

func complete(t *testing.T, r *signing.Repository, s signing.Staged) bool {
	t.Helper()
	standings, err := r.Standings(s)
	require.NoError(t, err)
	require.NotEmpty(t, standings)
	return !slices.ContainsFunc(standings, func(s signing.Standing) bool { return !s.Complete() })
}

func TestKeysAreEncrypted(t *testing.T) {
	people, opts := twoOfThree(t)
	files, err := filepath.Glob(filepath.Join(people[0], "keys", "*.age"))
	require.NoError(t, err)
	require.Len(t, files, 2)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(string(text), "-----BEGIN AGE ENCRYPTED FILE-----"))
	}
	_, err = openAt(t, people[0], quick("wrong")).AddTarget(nil, target("1.0", "x"), time.Now())
	require.ErrorIs(t, err, signing.ErrPassphrase)
	_, err = openAt(t, people[0], signing.Options{}).AddTarget(nil, target("1.0", "x"), time.Now())
	require.ErrorContains(t, err, "REDFLAG_PASSPHRASE")
	_, err = openAt(t, people[0], opts).AddTarget(nil, target("1.0", "x"), time.Now())
	require.ErrorIs(t, err, signing.ErrIncomplete)
}

// Two people publish: one signs and stages, the other adds a signature.
func TestTwoOfThreePublish(t *testing.T) {
	people, opts := twoOfThree(t)
	first, second := openAt(t, people[0], opts), openAt(t, people[1], opts)
	signed, err := first.AddTarget(nil, target("1.0", "x"), time.Now())
	require.ErrorIs(t, err, signing.ErrIncomplete)
	_, err = trust.CheckTargets(first.Root(), signed, time.Now())
	require.ErrorIs(t, err, trust.ErrSignature, "one of three is not enough")

	dir := signing.StagedDir(people[0])
	require.NoError(t, signing.Staged{Targets: signed}.Write(dir))
	staged, err := signing.ReadStaged(dir)
	require.NoError(t, err)
	require.False(t, complete(t, first, staged))
	twice, err := first.Sign(staged)
	require.NoError(t, err)
	require.False(t, complete(t, first, twice), "the same key twice is one signature")

	lines, err := second.Review(staged)
	require.NoError(t, err)
	require.Contains(t, strings.Join(lines, "\n"), "may be installed: app/1.0")
	staged, err = second.Sign(staged)
	require.NoError(t, err)
	require.True(t, complete(t, second, staged))
	require.NoError(t, first.Commit(staged.Targets))
}

// A key is lost: two of three people take it away and put in a new one, which
// then signs; what the old one signs counts for nothing.
func TestRevokeAndReplace(t *testing.T) {
	people, opts := twoOfThree(t)
	first, second, lost := openAt(t, people[0], opts), openAt(t, people[1], opts), openAt(t, people[2], opts)
	gone, err := lost.Keys()
	require.NoError(t, err)
	fresh, err := signing.NewKey(t.TempDir(), "new", signing.Options{})
	require.NoError(t, err)
	change := signing.RootChange{Grant: map[string][]crypto.PublicKey{"targets": {fresh.Public}}}
	for _, k := range gone {
		change.Revoke = append(change.Revoke, k.ID)
	}
	root, err := first.ChangeRoot(change, time.Now())
	require.NoError(t, err)
	staged, err := first.Restage(signing.Staged{Root: root}, time.Now())
	require.NoError(t, err)
	require.Nil(t, staged.Targets, "the keys that are left have signed what is in force")
	require.False(t, complete(t, first, staged))
	require.ErrorIs(t, trust.CheckRootUpdate(first.Root(), staged.Root), trust.ErrSignature)
	staged, err = second.Sign(staged)
	require.NoError(t, err)
	require.True(t, complete(t, second, staged))
	for _, r := range []*signing.Repository{first, second} {
		require.NoError(t, r.CommitRoot(staged.Root))
	}
	_, err = lost.AddTarget(nil, target("6.6", "evil"), time.Now())
	require.ErrorIs(t, err, signing.ErrIncomplete)
	require.NoError(t, lost.CommitRoot(staged.Root))
	_, err = lost.AddTarget(nil, target("6.6", "evil"), time.Now())
	require.ErrorIs(t, err, signing.ErrNoKeys, "a revoked key signs nothing any more")
}

func TestChangeRootRefuses(t *testing.T) {
	r := initKeys(t, t.TempDir(), time.Now())
	mine, err := r.Keys()
	require.NoError(t, err)
	for what, c := range map[string]signing.RootChange{
		"no key left":      {Revoke: []string{mine[0].ID}},
		"an unknown key":   {Revoke: []string{"none"}},
		"too high":         {Threshold: map[string]int{"targets": 2}},
		"an unknown role":  {Threshold: map[string]int{"mirrors": 1}},
		"a role of no one": {Threshold: map[string]int{"root": 0}},
	} {
		_, err := r.ChangeRoot(c, time.Now())
		require.Error(t, err, what)
	}
	root, err := r.ChangeRoot(signing.RootChange{}, time.Now())
	require.NoError(t, err)
	require.NoError(t, r.CommitRoot(root))
	root, err = r.ChangeRoot(signing.RootChange{}, time.Now())
	require.NoError(t, err)
	_, err = r.Sign(signing.Staged{Root: r.Root()})
	require.ErrorContains(t, err, "version 2", "only the next root is signed")
	require.NoError(t, r.CommitRoot(root))
}

// A hardware token or a key service is a crypto.Signer; the key is no file.
func TestSignerThatIsNoFile(t *testing.T) {
	token, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	dir := t.TempDir()
	r := initKeys(t, dir, time.Now())
	file, err := r.Keys()
	require.NoError(t, err)
	change := signing.RootChange{Grant: map[string][]crypto.PublicKey{"targets": {token.Public()}}}
	for _, k := range file {
		if k.Name == "targets" {
			change.Revoke = []string{k.ID}
		}
	}
	with := openAt(t, dir, signing.Options{Signers: []crypto.Signer{token}})
	root, err := with.ChangeRoot(change, time.Now())
	require.NoError(t, err)
	staged, err := with.Restage(signing.Staged{Root: root}, time.Now())
	require.NoError(t, err)
	require.True(t, complete(t, with, staged))
	require.NoError(t, with.CommitRoot(staged.Root))
	require.NoError(t, with.Commit(staged.Targets))
	signed, err := with.AddTarget(nil, target("1.0", "x"), time.Now())
	require.NoError(t, err)
	require.NoError(t, with.Commit(signed))
}
