package install

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/durable"
	"redflag/trust"
)

func testStore(t *testing.T, dir string) *Store {
	t.Helper()
	v, err := OpenStore(dir)
	require.NoError(t, err)
	return v
}

func put(v *Store, version string) error {
	r := &Record{Name: "app", Version: version, FileName: "app.bin", SHA256: "hash of " + version, InfoHash: "info of " + version}
	err := v.Put(r, func(dir string) error {
		return durable.WriteSynced(filepath.Join(dir, r.FileName), 0o755, func(w io.Writer) error {
			_, err := io.WriteString(w, "payload "+version)
			return err
		})
	})
	if err != nil {
		return err
	}
	return v.SwitchTo(r.Name, r.Version)
}

// running reads what a service of this machine would run.
func running(t *testing.T, v *Store) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(v.Dir, "app", "current", "app.bin"))
	require.NoError(t, err)
	return string(b)
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestStoreKeepExactlyThePreviousOne(t *testing.T) {
	v := testStore(t, t.TempDir())
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		require.NoError(t, put(v, version))
		require.NoError(t, v.Prune("app"))
		require.Equal(t, "payload "+version, running(t, v))
	}
	require.Equal(t, []string{"2.0", "3.0"}, names(t, filepath.Join(v.Dir, "app", "versions")))
	installed, err := v.Installed()
	require.NoError(t, err)
	require.Len(t, installed, 1)
	require.Equal(t, "2.0", installed[0].Previous)

	require.NoError(t, v.SwitchTo("app", "2.0"))
	require.Equal(t, "payload 2.0", running(t, v))
	prev, err := v.Previous("app")
	require.NoError(t, err)
	require.Nil(t, prev, "the one before was not kept")

	require.NoError(t, put(v, "3.0"), "forward again over what the rollback left")
	require.NoError(t, v.Prune("app"))
	require.Equal(t, "payload 3.0", running(t, v))
	require.Error(t, put(v, "3.0"), "the version in use is never replaced")
}

func TestStoreFailedFillChangesNothing(t *testing.T) {
	v := testStore(t, t.TempDir())
	require.NoError(t, put(v, "1.0"))
	wrong := errors.New("not the signed bytes")
	err := v.Put(&Record{Name: "app", Version: "2.0", FileName: "app.bin"}, func(dir string) error {
		return errors.Join(os.WriteFile(filepath.Join(dir, "app.bin"), []byte("evil"), 0o600), wrong)
	})
	require.ErrorIs(t, err, wrong)
	require.NoError(t, v.Discard("app"))
	require.Equal(t, "payload 1.0", running(t, v))
	require.Equal(t, []string{"current", "versions"}, names(t, filepath.Join(v.Dir, "app")))
	require.Equal(t, []string{"1.0"}, names(t, filepath.Join(v.Dir, "app", "versions")))
}

// TestStoreCrashMatrix stops an upgrade after each of its steps, as kill -9
// would, and looks at what the next start finds.
func TestStoreCrashMatrix(t *testing.T) {
	steps := countSteps(t)
	require.GreaterOrEqual(t, len(steps), 9)
	switched := false
	for i, step := range steps {
		switched = switched || step == "switched"
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			upgraded(t, dir, func(n int, _ string) bool { return n == i })

			v := testStore(t, dir)
			want := "payload 2.0"
			if switched {
				want = "payload 3.0"
			}
			require.Equal(t, want, running(t, v))
			cur, err := v.Current("app")
			require.NoError(t, err)
			require.Equal(t, want, "payload "+cur.Version)

			if !switched { // the resumed command does it again
				require.NoError(t, put(v, "3.0"))
			}
			require.NoError(t, v.Prune("app"))
			require.Equal(t, "payload 3.0", running(t, v))
			prev, err := v.Previous("app")
			require.NoError(t, err)
			require.Equal(t, "2.0", prev.Version)
			require.Equal(t, []string{"current", "versions"}, names(t, filepath.Join(dir, "app")))
			require.Equal(t, []string{"2.0", "3.0"}, names(t, filepath.Join(dir, "app", "versions")))
		})
	}
}

func countSteps(t *testing.T) (steps []string) {
	t.Helper()
	upgraded(t, t.TempDir(), func(_ int, step string) bool {
		steps = append(steps, step)
		return false
	})
	return steps
}

// upgraded goes from 2.0 to 3.0, with 1.0 before that, until crash says so.
func upgraded(t *testing.T, dir string, crash func(n int, step string) bool) {
	t.Helper()
	v := testStore(t, dir)
	require.NoError(t, put(v, "1.0"))
	require.NoError(t, put(v, "2.0"))
	crashed := errors.New("crash")
	n := 0
	v.Step = func(step string) error {
		defer func() { n++ }()
		if crash(n, step) {
			return crashed
		}
		return nil
	}
	err := put(v, "3.0")
	if err == nil {
		err = v.Prune("app")
	}
	if err != nil {
		require.ErrorIs(t, err, crashed)
	}
}

func TestStoreKeepsVersionsWithinItsBudget(t *testing.T) {
	versions := func(keep int, budget int64) []string {
		v := testStore(t, t.TempDir())
		v.Keep, v.Budget = keep, budget
		for _, version := range []string{"1.0", "2.0", "3.0", "4.0"} {
			require.NoError(t, put(v, version))
		}
		require.NoError(t, v.Prune("app"))
		return names(t, filepath.Join(v.Dir, "app", "versions"))
	}
	require.Equal(t, []string{"3.0", "4.0"}, versions(0, 0), "one is always kept")
	require.Equal(t, []string{"2.0", "3.0", "4.0"}, versions(2, 0))
	require.Equal(t, []string{"1.0", "2.0", "3.0", "4.0"}, versions(9, 1<<20))
	require.Equal(t, []string{"3.0", "4.0"}, versions(9, 1), "the budget ends the rest")
}

// What was there before the first package of ours can be gone back to, and any
// version may follow.
func TestAdoptedVersionIsOlderThanAll(t *testing.T) {
	for _, next := range []string{"2.1", "v1.4", "1.5.0-rc.1+abc", "0.0.1"} {
		order, err := trust.CompareVersions(next, adoptedVersion(next))
		require.NoError(t, err, next)
		require.Equal(t, 1, order, next)
	}
}
