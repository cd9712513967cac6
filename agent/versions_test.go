package agent

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func testVersions(t *testing.T, dir string) *versions {
	t.Helper()
	v, err := openVersions(dir)
	require.NoError(t, err)
	return v
}

func put(v *versions, version string) error {
	r := record{Name: "app", Version: version, FileName: "app.bin", SHA256: "hash of " + version, InfoHash: "info of " + version}
	return v.install(r, func(w io.Writer) error {
		_, err := io.WriteString(w, "payload "+version)
		return err
	})
}

// running reads what a service of this machine would run.
func running(t *testing.T, v *versions) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(v.dir, "app", "current", "app.bin"))
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

func TestVersionsKeepExactlyThePreviousOne(t *testing.T) {
	v := testVersions(t, t.TempDir())
	for _, version := range []string{"1.0", "2.0", "3.0"} {
		require.NoError(t, put(v, version))
		require.NoError(t, v.prune("app"))
		require.Equal(t, "payload "+version, running(t, v))
	}
	require.Equal(t, []string{"2.0", "3.0"}, names(t, filepath.Join(v.dir, "app", "versions")))
	installed, err := v.installed()
	require.NoError(t, err)
	require.Len(t, installed, 1)
	require.Equal(t, "2.0", installed[0].Previous)

	require.NoError(t, v.switchTo("app", "2.0"))
	require.Equal(t, "payload 2.0", running(t, v))
	prev, err := v.previous("app")
	require.NoError(t, err)
	require.Nil(t, prev, "the one before was not kept")

	require.NoError(t, put(v, "3.0"), "forward again over what the rollback left")
	require.NoError(t, v.prune("app"))
	require.Equal(t, "payload 3.0", running(t, v))
	require.Error(t, put(v, "3.0"), "the version in use is never replaced")
}

func TestVersionsFailedFillChangesNothing(t *testing.T) {
	v := testVersions(t, t.TempDir())
	require.NoError(t, put(v, "1.0"))
	wrong := errors.New("not the signed bytes")
	err := v.install(record{Name: "app", Version: "2.0", FileName: "app.bin"}, func(w io.Writer) error {
		_, _ = io.WriteString(w, "evil")
		return wrong
	})
	require.ErrorIs(t, err, wrong)
	require.NoError(t, v.discard("app"))
	require.Equal(t, "payload 1.0", running(t, v))
	require.Equal(t, []string{"current", "versions"}, names(t, filepath.Join(v.dir, "app")))
	require.Equal(t, []string{"1.0"}, names(t, filepath.Join(v.dir, "app", "versions")))
}

// TestVersionsCrashMatrix stops an upgrade after each of its steps, as kill -9
// would, and looks at what the next start finds.
func TestVersionsCrashMatrix(t *testing.T) {
	steps := countSteps(t)
	require.GreaterOrEqual(t, len(steps), 9)
	switched := false
	for i, step := range steps {
		switched = switched || step == "switched"
		t.Run(step, func(t *testing.T) {
			dir := t.TempDir()
			upgraded(t, dir, func(n int, _ string) bool { return n == i })

			v := testVersions(t, dir)
			want := "payload 2.0"
			if switched {
				want = "payload 3.0"
			}
			require.Equal(t, want, running(t, v))
			cur, err := v.current("app")
			require.NoError(t, err)
			require.Equal(t, want, "payload "+cur.Version)

			if !switched { // the resumed command does it again
				require.NoError(t, put(v, "3.0"))
			}
			require.NoError(t, v.prune("app"))
			require.Equal(t, "payload 3.0", running(t, v))
			prev, err := v.previous("app")
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
	v := testVersions(t, dir)
	require.NoError(t, put(v, "1.0"))
	require.NoError(t, put(v, "2.0"))
	crashed := errors.New("crash")
	n := 0
	v.step = func(step string) error {
		defer func() { n++ }()
		if crash(n, step) {
			return crashed
		}
		return nil
	}
	err := put(v, "3.0")
	if err == nil {
		err = v.prune("app")
	}
	if err != nil {
		require.ErrorIs(t, err, crashed)
	}
}
