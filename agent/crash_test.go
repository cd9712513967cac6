//go:build linux

package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/agent/install"
	"redflag/agent/install/installtest"
	"redflag/api"
	"redflag/trust/trusttest"
)

// The child process of the crash matrix works on the box that these name.
const (
	envCrashBox  = "REDFLAG_CRASH_BOX"
	envCrashKind = "REDFLAG_CRASH_KIND"
	envCrashStep = "REDFLAG_CRASH_STEP"
)

// subject is an installer under the crash matrix.
type subject struct {
	kind    api.InstallType
	payload func(tb testing.TB, version string) []byte
	prepare func(b installtest.Box, tb testing.TB)
	// probe says which version the machine is on.
	probe func(b installtest.Box, tb testing.TB) string
}

func installedFile(name string) func(installtest.Box, testing.TB) string {
	return content("artifacts", "app", "current", name)
}

func content(path ...string) func(installtest.Box, testing.TB) string {
	return func(b installtest.Box, tb testing.TB) string { //nolint:thelper // of the form of Box's methods
		tb.Helper()
		got, err := os.ReadFile(b.Path(path...))
		require.NoError(tb, err)
		return string(got)
	}
}

func plain(_ testing.TB, version string) []byte { return []byte(version) }

var subjects = []subject{
	{kind: api.InstallFile, payload: plain, probe: installedFile("app.bin")},
	{kind: api.InstallArchive, payload: func(tb testing.TB, v string) []byte {
		tb.Helper()
		return installtest.Bundle(tb, map[string]string{"lib/version": v, "bin/app": "run " + v})
	}, probe: installedFile("lib/version")},
	{kind: api.InstallExec, payload: installtest.Scripts, probe: content("live")},
	{kind: api.InstallModule, payload: plain, probe: content("live"), prepare: func(b installtest.Box, tb testing.TB) { //nolint:thelper // of the form of Box's methods
		tb.Helper()
		b.Module(tb, "files", installtest.FilesModule)
	}},
	{kind: api.InstallDeb, payload: installtest.Deb, prepare: installtest.Box.NeedDpkg, probe: installtest.Box.DpkgVersion},
	{kind: api.InstallSelf, payload: plain, probe: installedFile("app.bin"), prepare: func(b installtest.Box, tb testing.TB) { //nolint:thelper // of the form of Box's methods
		tb.Helper()
		require.NoError(tb, os.WriteFile(b.Path("base"), []byte("0.9"), 0o755))
	}},
}

// crashes maps a step to how the machine ended after a kill there, for a new
// version that is well and for one that fails its health gate.
type crashes struct {
	order []string
	ends  map[string]*[2]string
}

func (c *crashes) add(step string, well bool, end string) {
	if c.ends[step] == nil {
		c.order = append(c.order, step)
		c.ends[step] = &[2]string{"-", "-"}
	}
	column := 1
	if well {
		column = 0
	}
	c.ends[step][column] = end
}

// TestCrashMatrix kills an agent with SIGKILL at every durable step of every
// installer, on the way to a version that is well and to one that fails its
// health gate, and starts it again: the machine ends on exactly one version,
// and the report says which.
func TestCrashMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills some hundred processes")
	}
	// The processes to be killed are built without the race detector, which
	// would take longer to start than the install does.
	child := filepath.Join(t.TempDir(), "agent.test")
	build := exec.Command("go", "test", "-c", "-race=false", "-o", child, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	said, err := build.CombinedOutput()
	require.NoError(t, err, string(said))

	found := make([]crashes, len(subjects))
	t.Run("kill", func(t *testing.T) {
		for i, s := range subjects {
			found[i].ends = map[string]*[2]string{}
			t.Run(string(s.kind), func(t *testing.T) {
				t.Parallel()
				for _, well := range []bool{true, false} {
					s.matrix(t, child, well, &found[i])
				}
			})
		}
	})
	printCrashes(t, found)
}

func printCrashes(t *testing.T, found []crashes) {
	t.Helper()
	table, kills := &strings.Builder{}, 0
	fmt.Fprintf(table, "\nThe version that runs after kill -9 and a restart, by whether the new one is well:\n\n%-8s %-42s %-6s %s\n", "TYPE", "KILLED AT", "WELL", "UNWELL")
	for i, s := range subjects {
		for _, step := range found[i].order {
			ends := found[i].ends[step]
			fmt.Fprintf(table, "%-8s %-42s %-6s %s\n", s.kind, step, ends[0], ends[1])
			for _, end := range ends {
				if end != "-" {
					kills++
				}
			}
		}
	}
	fmt.Fprintf(table, "\n%d kills, none of them left a machine between two versions\n", kills)
	t.Log(table.String())
}

func (s subject) matrix(t *testing.T, child string, well bool, found *crashes) {
	t.Helper()
	origin := installtest.Box{Dir: filepath.Join(t.TempDir(), "origin")}
	require.NoError(t, os.Mkdir(origin.Dir, 0o700))
	if s.prepare != nil {
		s.prepare(origin, t)
	}
	for _, v := range []string{"1.0", "2.0"} {
		require.NoError(t, os.WriteFile(origin.Path("payload-"+v), s.payload(t, v), 0o600))
	}
	s.order(t, origin, "1.0")
	require.Equal(t, api.StateSucceeded, s.work(t, origin, true, nil).State)
	require.Equal(t, "1.0", s.probe(origin, t))
	s.order(t, origin, "2.0")

	kills := 0
	for n := 1; ; n++ {
		b := installtest.Box{Dir: filepath.Join(t.TempDir(), "box")}
		said, err := exec.Command("cp", "-a", origin.Dir, b.Dir).CombinedOutput()
		require.NoError(t, err, string(said))
		step, killed := s.killed(t, child, b, well, n)
		if !killed {
			break
		}
		kills++
		report := s.work(t, b, well, nil)
		end, ok := map[string]string{"1.0": "old", "2.0": "new"}[s.probe(b, t)]
		require.True(t, ok, "killed at %q the machine is between: %s", step, s.probe(b, t))
		require.Equal(t, end == "new", report.State == api.StateSucceeded, "killed at %q the machine is on the %s version, the report says %s", step, end, report.State)
		require.True(t, well || end == "old", "killed at %q a version that is not well stays", step)
		found.add(step, well, end)
		require.NoError(t, os.RemoveAll(b.Dir))
	}
	require.Greater(t, kills, 8)
}

// order journals the command to install a version.
func (s subject) order(t *testing.T, b installtest.Box, version string) {
	t.Helper()
	j := testJournal(t, b.Path("journal.db"))
	accept(t, j, api.Command{ID: "r-" + version + ":a", Kind: api.KindInstall, Artifact: "app", Version: version})
	require.NoError(t, j.close())
}

// shelf signs and holds both versions.
func (s subject) shelf(t *testing.T, b installtest.Box, well bool) *shelf {
	t.Helper()
	shelf := newShelf()
	for _, v := range []string{"1.0", "2.0"} {
		payload, err := os.ReadFile(b.Path("payload-" + v))
		require.NoError(t, err)
		target := trusttest.Target("app", v, "app.bin", payload, "info of "+v, 1<<18)
		how := &api.Install{Type: s.kind, UnpackedSize: 1 << 20, UnpackedFiles: 100}
		if s.kind == api.InstallModule {
			how.Module, how.UnpackedFiles, how.UnpackedSize = "files", 0, 0
		}
		if v == "2.0" && !well {
			how.Checks = []api.HealthCheck{{Kind: api.CheckCommand, Target: "exit 1"}}
			how.CheckWithin = api.Duration(1)
		}
		target.Custom.Install = how
		shelf.signed[target.Path], shelf.content[target.Custom.InfoHash] = target, payload
	}
	return shelf
}

// work is an agent's start: it goes on with what its journal holds, restarts
// as often as it has to, and returns the report of the last command.
func (s subject) work(t *testing.T, b installtest.Box, well bool, step func(string) error) api.Report {
	t.Helper()
	shelf := s.shelf(t, b, well)
	for {
		report, err := s.start(t, b, shelf, step)
		if !errors.Is(err, install.ErrRestart) {
			require.NoError(t, err)
			return report
		}
	}
}

func (s subject) start(t *testing.T, b installtest.Box, shelf *shelf, step func(string) error) (api.Report, error) {
	t.Helper()
	j := testJournal(t, b.Path("journal.db"))
	defer func() { require.NoError(t, j.close()) }()
	store, err := install.OpenStore(b.Path("artifacts"))
	require.NoError(t, err)
	exe := b.Path("base")
	if next, err := install.Successor(store.Dir, exe); err == nil && next != "" {
		exe = next
	}
	e := newExecutor(j, store, shelf, shelf, hclog.NewNullLogger(), func() {})
	e.engine.Host = install.Host{
		DeviceType: "test-device", ModulesDir: b.Path("modules"), Executable: exe, Dpkg: b.DpkgArgs(), RevertPause: 1,
		Prove:  func(context.Context, string) error { return nil },
		Polled: func(context.Context) error { return nil },
	}
	e.engine.OnStep(step)
	for en := next(t, j); en != nil; en = next(t, j) {
		if err := e.execute(t.Context(), en); err != nil {
			return api.Report{}, err
		}
	}
	reports := outbox(t, j)
	return reports[len(reports)-1], nil
}

// killed runs the box in a process of its own and reports whether that was
// killed at its nth step, and that step's name.
func (s subject) killed(t *testing.T, child string, b installtest.Box, well bool, n int) (step string, killed bool) {
	t.Helper()
	cmd := exec.Command(child, "-test.run=^TestCrashChild$", "-test.v=false")
	kind := string(s.kind)
	if !well {
		kind += "/unwell"
	}
	cmd.Env = append(os.Environ(), envCrashBox+"="+b.Dir, envCrashKind+"="+kind, envCrashStep+"="+strconv.Itoa(n))
	out, err := cmd.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL {
			return strings.TrimSpace(string(out)), true
		}
	}
	require.NoError(t, err, string(out))
	return "", false
}

// TestCrashChild is the process that TestCrashMatrix kills.
func TestCrashChild(t *testing.T) {
	b := installtest.Box{Dir: os.Getenv(envCrashBox)}
	if b.Dir == "" {
		t.Skip("it is run by the crash matrix")
	}
	last, err := strconv.Atoi(os.Getenv(envCrashStep))
	require.NoError(t, err)
	kind, _, unwell := strings.Cut(os.Getenv(envCrashKind), "/")
	seen := map[string]int{}
	n := 0
	for _, s := range subjects {
		if string(s.kind) != kind {
			continue
		}
		s.work(t, b, !unwell, func(step string) error {
			seen[step]++
			if n++; n == last {
				if seen[step] > 1 {
					step = fmt.Sprintf("%s (%d)", step, seen[step])
				}
				fmt.Println(step)
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // the signal is on its way
			}
			return nil
		})
	}
}
