//go:build linux

package install

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// The child process of the crash matrix works on the box that these name.
const (
	envCrashBox  = "REDFLAG_CRASH_BOX"
	envCrashStep = "REDFLAG_CRASH_STEP"
)

// subject is an installer under the crash matrix.
type subject struct {
	kind    api.InstallType
	payload func(tb testing.TB, version string) []byte
	prepare func(b box, tb testing.TB)
	// probe says which version the machine is on.
	probe func(b box, tb testing.TB) string
}

func current(name string) func(box, testing.TB) string {
	return func(b box, tb testing.TB) string { //nolint:thelper // of the form of box's methods
		tb.Helper()
		got, err := os.ReadFile(b.path("artifacts", "app", "current", name))
		require.NoError(tb, err)
		return string(got)
	}
}

func live(b box, tb testing.TB) string { //nolint:thelper // of the form of box's methods
	tb.Helper()
	got, err := os.ReadFile(b.path("live"))
	require.NoError(tb, err)
	return string(got)
}

func text(_ testing.TB, version string) []byte { return []byte(version) }

func (b box) withModule(tb testing.TB) {
	tb.Helper()
	b.module(tb, "files", filesModule)
}

func (b box) withBase(tb testing.TB) {
	tb.Helper()
	require.NoError(tb, os.WriteFile(b.path("base"), []byte("0.9"), 0o755))
}

var subjects = []subject{
	{kind: api.InstallFile, payload: text, probe: current("app.bin")},
	{kind: api.InstallArchive, payload: func(tb testing.TB, v string) []byte {
		tb.Helper()
		return bundle(tb, map[string]string{"lib/version": v, "bin/app": "run " + v})
	}, probe: current("lib/version")},
	{kind: api.InstallExec, payload: scripts, probe: live},
	{kind: api.InstallModule, payload: text, probe: live, prepare: box.withModule},
	{kind: api.InstallDeb, payload: makeDeb, prepare: box.needDpkg, probe: box.dpkgVersion},
	{kind: api.InstallSelf, payload: text, prepare: box.withBase, probe: current("app.bin")},
}

// TestCrashMatrix kills an agent with SIGKILL at every step of every
// installer, on the way to a version that is well and to one that fails its
// health gate, and starts it again: the machine ends on exactly one version.
func TestCrashMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills some hundred processes")
	}
	table := &strings.Builder{}
	fmt.Fprintf(table, "\n%-8s %-16s %6s %6s %6s %8s\n", "TYPE", "NEW VERSION IS", "KILLS", "OLD", "NEW", "BETWEEN")
	for _, s := range subjects {
		for _, well := range []bool{true, false} {
			name := string(s.kind) + map[bool]string{true: "/well", false: "/unwell"}[well]
			t.Run(name, func(t *testing.T) { s.matrix(t, well, table) })
		}
	}
	t.Log(table.String())
}

func (s subject) matrix(t *testing.T, well bool, table *strings.Builder) {
	t.Helper()
	origin := box{t.TempDir()}
	if s.prepare != nil {
		s.prepare(origin, t)
	}
	first, second := s.payload(t, "1.0"), s.payload(t, "2.0")
	require.NoError(t, origin.install(t, s.record("1.0", first, true), first))
	require.Equal(t, "1.0", s.probe(origin, t))
	cur, err := origin.engine(t).Store.Current("app")
	require.NoError(t, err)
	origin.begin(t, Progress{New: s.record("2.0", second, well), Old: cur})
	require.NoError(t, os.WriteFile(origin.path("payload"), second, 0o600))

	kills, ends := 0, map[string]int{}
	for step := 1; ; step++ {
		b := box{filepath.Join(t.TempDir(), "box")}
		said, err := exec.Command("cp", "-a", origin.dir, b.dir).CombinedOutput()
		require.NoError(t, err, string(said))
		if !s.killed(t, b, step) {
			break
		}
		kills++
		require.False(t, s.killed(t, b, 0), "the next start ends by itself")
		ends[s.probe(b, t)]++
	}
	between := kills - ends["1.0"] - ends["2.0"]
	fmt.Fprintf(table, "%-8s %-16s %6d %6d %6d %8d\n", s.kind, map[bool]string{true: "well", false: "unwell"}[well], kills, ends["1.0"], ends["2.0"], between)
	require.Zero(t, between, "%v", ends)
	require.Greater(t, kills, 8)
	if !well {
		require.Zero(t, ends["2.0"], "a version that is not well never stays")
	}
}

func (s subject) record(version string, payload []byte, well bool) Record {
	r := recordFor(s.kind, version, payload)
	if s.kind == api.InstallModule {
		r.Install.Module, r.Install.UnpackedFiles, r.Install.UnpackedSize = "files", 0, 0
	}
	if !well {
		r.Install.Checks = []api.HealthCheck{{Kind: api.CheckCommand, Target: "exit 1"}}
		r.Install.CheckWithin = api.Duration(1)
	}
	return r
}

// killed runs the box in a process of its own and reports whether that was
// killed at the step; step 0 is none.
func (s subject) killed(t *testing.T, b box, step int) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestCrashChild$")
	cmd.Env = append(os.Environ(), envCrashBox+"="+b.dir, envCrashStep+"="+strconv.Itoa(step))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
			return true
		}
	}
	require.NoError(t, err, string(out))
	return false
}

// TestCrashChild is the process that TestCrashMatrix kills.
func TestCrashChild(t *testing.T) {
	b := box{os.Getenv(envCrashBox)}
	if b.dir == "" {
		t.Skip("it is run by the crash matrix")
	}
	step, err := strconv.Atoi(os.Getenv(envCrashStep))
	require.NoError(t, err)
	payload, err := os.ReadFile(b.path("payload"))
	require.NoError(t, err)
	n := 0
	err = b.work(t, payload, func(string) error {
		if n++; n == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {} // the signal is on its way
		}
		return nil
	})
	if back := (*RolledBackError)(nil); err != nil && !errors.As(err, &back) {
		t.Fatal(err)
	}
}
