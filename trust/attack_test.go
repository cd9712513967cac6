package trust_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/trust"
	"redflag/trust/trusttest"
)

// TestAttacks lets a verifier believe version 1.0.0, then changes what is
// served, and restarts the verifier on the same directory.
func TestAttacks(t *testing.T) {
	stranger := trusttest.NewRepository(t)
	stranger.RotateRoot(false)
	for _, tc := range []struct {
		name   string
		attack func(*trusttest.Repository)
		want   error
	}{
		{"tampered timestamp", func(r *trusttest.Repository) {
			publish(r, "2.0.0")
			r.Tamper("timestamp.json")
		}, trust.ErrSignature},
		{"tampered snapshot", func(r *trusttest.Repository) {
			publish(r, "2.0.0")
			r.Tamper("3.snapshot.json")
		}, trust.ErrHash},
		{"tampered targets", func(r *trusttest.Repository) {
			publish(r, "2.0.0")
			r.Tamper("3.targets.json")
		}, trust.ErrHash},
		{"targets signed with a wrong key", func(r *trusttest.Repository) {
			r.Forge(trusttest.Target("app", "2.0.0", "app", []byte("evil"), infoHash, 1<<18))
		}, trust.ErrSignature},
		{"older timestamp", func(r *trusttest.Repository) { r.RollBackTo(1) }, trust.ErrRollback},
		{"older snapshot under a new timestamp", func(r *trusttest.Repository) {
			nameSnapshot(r, "timestamp.json", 1, r.File("1.snapshot.json"))
		}, trust.ErrRollback},
		{"older targets under a new snapshot", func(r *trusttest.Repository) {
			rename(r, "3.snapshot.json", r.File("2.snapshot.json"), func(s *metadata.SnapshotType) {
				s.Version, s.Meta["targets.json"].Version = 3, 1
			})
			nameSnapshot(r, "timestamp.json", 3, nil)
		}, trust.ErrRollback},
		{"snapshot without targets", func(r *trusttest.Repository) {
			rename(r, "3.snapshot.json", r.File("2.snapshot.json"), func(s *metadata.SnapshotType) {
				s.Version = 3
				delete(s.Meta, "targets.json")
			})
			nameSnapshot(r, "timestamp.json", 3, nil)
		}, trust.ErrMalformed},
		{"mix and match: old targets as the new ones", func(r *trusttest.Repository) {
			publish(r, "2.0.0")
			r.Put("3.targets.json", r.File("2.targets.json"))
		}, trust.ErrHash},
		{"mix and match: old snapshot as the new one", func(r *trusttest.Repository) {
			publish(r, "2.0.0")
			r.Put("3.snapshot.json", r.File("2.snapshot.json"))
		}, trust.ErrHash},
		{"a file of another role", func(r *trusttest.Repository) {
			r.Put("timestamp.json", r.File("2.snapshot.json"))
		}, trust.ErrMalformed},
		{"freeze: expired timestamp", func(r *trusttest.Repository) {
			r.Advance(-8 * 24 * time.Hour)
			publish(r, "2.0.0")
			r.Advance(8 * 24 * time.Hour)
		}, trust.ErrExpired},
		{"endless timestamp", func(r *trusttest.Repository) {
			r.Put("timestamp.json", make([]byte, trust.MaxTimestampLength+1))
		}, trust.ErrLength},
		{"endless snapshot, its length signed", func(r *trusttest.Repository) {
			trusttest.SignOnline(r, "timestamp.json", func(s *metadata.TimestampType) {
				s.Version++
				s.Meta["snapshot.json"] = &metadata.MetaFiles{Version: 3, Length: math.MaxInt64}
			})
			r.Put("3.snapshot.json", make([]byte, trust.MaxSnapshotLength+1))
		}, trust.ErrLength},
		{"endless targets", func(r *trusttest.Repository) {
			publish(r, "2.0.0")
			r.Put("3.targets.json", make([]byte, trust.MaxTargetsLength+1))
		}, trust.ErrLength},
		{"a root signed by itself alone", func(r *trusttest.Repository) {
			r.Put("2.root.json", stranger.File("2.root.json"))
		}, trust.ErrSignature},
		{"a root of a version not asked for", func(r *trusttest.Repository) {
			r.Put("2.root.json", r.Root())
		}, trust.ErrRollback},
		{"a null target", func(r *trusttest.Repository) {
			publish(r, "2.0.0")
			r.Put("3.targets.json", []byte(`{"signed":{"_type":"targets","targets":{"a":null}},"signatures":[]}`))
		}, trust.ErrMalformed},
		{"a timestamp that names nothing", func(r *trusttest.Repository) {
			trusttest.SignOnline(r, "timestamp.json", func(s *metadata.TimestampType) {
				s.Version++
				s.Meta = map[string]*metadata.MetaFiles{}
			})
		}, trust.ErrMalformed},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := trusttest.NewRepository(t)
			old := publish(r, "1.0.0")
			dir := t.TempDir()
			_, err := open(t, dir, r.Root()).Target(t.Context(), r.Fetch, old.Path)
			require.NoError(t, err)

			tc.attack(r)
			for range 2 { // a refusal must not wear off, nor must a restart help
				_, err = open(t, dir, nil).Target(t.Context(), r.Fetch, "app/2.0.0")
				require.ErrorIs(t, err, tc.want)
			}

			r.Put("2.root.json", nil)
			publish(r, "3.0.0")
			publish(r, "3.0.1") // once more, past any version that the attack used up
			got, err := open(t, dir, nil).Target(t.Context(), r.Fetch, old.Path)
			require.NoError(t, err, "an honest node is believed again")
			require.Equal(t, old, got)
		})
	}
}

// nameSnapshot makes the timestamp after the present one name a snapshot, by
// version only when file is nil.
func nameSnapshot(r *trusttest.Repository, name string, version int64, file []byte) {
	trusttest.SignOnline(r, name, func(s *metadata.TimestampType) {
		s.Version++
		s.Meta["snapshot.json"] = &metadata.MetaFiles{Version: version, Length: int64(len(file))}
	})
}

// rename serves a snapshot made from another one.
func rename(r *trusttest.Repository, name string, from []byte, change func(*metadata.SnapshotType)) {
	r.Put(name, from)
	trusttest.SignOnline(r, name, change)
}

// TestAttackEqualTimestamp: a second timestamp of one version, by who holds the
// online key, must not take the place of the first on disk, or the snapshot it
// names would become the floor for later ones.
func TestAttackEqualTimestamp(t *testing.T) {
	r := trusttest.NewRepository(t)
	target := publish(r, "1.0.0")
	dir := t.TempDir()
	v := open(t, dir, r.Root())
	_, err := v.Target(t.Context(), r.Fetch, target.Path)
	require.NoError(t, err)
	first, err := os.ReadFile(filepath.Join(dir, "timestamp.json"))
	require.NoError(t, err)
	trusttest.SignOnline(r, "timestamp.json", func(s *metadata.TimestampType) {
		s.Meta["snapshot.json"] = &metadata.MetaFiles{Version: 1}
	})
	_, err = v.Target(t.Context(), r.Fetch, target.Path)
	require.NoError(t, err)
	stored, err := os.ReadFile(filepath.Join(dir, "timestamp.json"))
	require.NoError(t, err)
	require.Equal(t, string(first), string(stored))
}

func TestExpiredRoot(t *testing.T) {
	r := trusttest.NewRepository(t)
	target := publish(r, "1.0.0")
	later := time.Now().Add(2 * 365 * 24 * time.Hour)
	_, err := trust.CheckTargets(r.Root(), r.Targets(), later)
	require.ErrorIs(t, err, trust.ErrExpired)
	v := open(t, t.TempDir(), r.Root())
	v.UseClock(func() time.Time { return later })
	_, err = v.Target(t.Context(), r.Fetch, target.Path)
	require.ErrorIs(t, err, trust.ErrExpired)
}

func TestRootRotation(t *testing.T) {
	r := trusttest.NewRepository(t)
	target := publish(r, "1.0.0")
	dir := t.TempDir()
	_, err := open(t, dir, r.Root()).Target(t.Context(), r.Fetch, target.Path)
	require.NoError(t, err)
	r.RotateRoot(false)
	r.RotateRoot(true)
	for _, dir := range []string{dir, t.TempDir()} {
		_, err = open(t, dir, r.Root()).Target(t.Context(), r.Fetch, target.Path)
		require.NoError(t, err)
		stored, err := os.ReadFile(filepath.Join(dir, "root.json"))
		require.NoError(t, err)
		require.Equal(t, string(r.File("3.root.json")), string(stored))
	}
	r.Put("2.root.json", nil)
	_, err = open(t, dir, r.Root()).Target(t.Context(), r.Fetch, target.Path)
	require.NoError(t, err, "the newest root on disk is used, not the pinned one")
}

// TestFastForwardRecovery: whoever had the online key counted up to the end;
// a new online key in the root lets versions start again.
func TestFastForwardRecovery(t *testing.T) {
	r := trusttest.NewRepository(t)
	target := publish(r, "1.0.0")
	dir := t.TempDir()
	trusttest.SignOnline(r, "timestamp.json", func(s *metadata.TimestampType) { s.Version = math.MaxInt64 })
	_, err := open(t, dir, r.Root()).Target(t.Context(), r.Fetch, target.Path)
	require.NoError(t, err)
	r.RotateRoot(true)
	r.Restart()
	_, err = open(t, dir, nil).Target(t.Context(), r.Fetch, target.Path)
	require.NoError(t, err)
}

// TestCrashBetweenWrites cuts an update off after each of its files.
func TestCrashBetweenWrites(t *testing.T) {
	r := trusttest.NewRepository(t)
	first := publish(r, "1.0.0")
	before, after := t.TempDir(), t.TempDir()
	_, err := open(t, before, r.Root()).Target(t.Context(), r.Fetch, first.Path)
	require.NoError(t, err)
	r.RotateRoot(false)
	second := publish(r, "2.0.0")
	require.NoError(t, os.CopyFS(after, os.DirFS(before)))
	_, err = open(t, after, nil).Target(t.Context(), r.Fetch, second.Path)
	require.NoError(t, err)

	order := []string{"root.json", "timestamp.json", "snapshot.json", "targets.json"}
	for n := range len(order) + 1 {
		dir := filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.CopyFS(dir, os.DirFS(before)))
		for _, name := range order[:n] {
			data, err := os.ReadFile(filepath.Join(after, name))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
		}
		if n < len(order) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "."+order[n]+"-1"), []byte("{"), 0o600))
		}
		got, err := open(t, dir, nil).Target(t.Context(), r.Fetch, second.Path)
		require.NoError(t, err, n)
		require.Equal(t, second, got)
	}
}

// TestFilesAreStoredInOrder: a fetch that fails shows what is on disk by then.
func TestFilesAreStoredInOrder(t *testing.T) {
	r := trusttest.NewRepository(t)
	r.RotateRoot(false)
	target := publish(r, "1.0.0")
	dir := t.TempDir()
	seen := map[string]int{}
	_, err := open(t, dir, r.Root()).Target(t.Context(), func(ctx context.Context, name string, limit int64) ([]byte, error) {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		require.NoError(t, err)
		seen[name] = len(files)
		return r.Fetch(ctx, name, limit)
	}, target.Path)
	require.NoError(t, err)
	require.Equal(t, map[string]int{
		"2.root.json": 1, "3.root.json": 1, "timestamp.json": 1, "3.snapshot.json": 2, "2.targets.json": 3,
	}, seen)
}
