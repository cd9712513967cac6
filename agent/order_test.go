package agent

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/agent/install/installtest"
	"redflag/api"
	"redflag/trust/pki"
	"redflag/trust/trusttest"
)

// kernel is what a machine that can be rebooted has: an id of its boot, and a
// command that asks it to go down and writes down each time.
type kernel struct {
	*machine
	bootID, asked string
}

func newKernel(t *testing.T) *kernel {
	t.Helper()
	k := &kernel{machine: newMachine(t)}
	k.bootID, k.asked = filepath.Join(k.dir, "boot_id"), filepath.Join(k.dir, "asked")
	k.comesUp("one")
	return k
}

// comesUp starts the agent in a boot with this id.
func (k *kernel) comesUp(boot string) {
	k.t.Helper()
	require.NoError(k.t, os.WriteFile(k.bootID, []byte(boot), 0o600))
	k.boot()
	k.allowReboot = true
	k.engine.Host.BootIDFile = k.bootID
	k.engine.Host.RebootCommand = []string{"/bin/sh", "-c", "echo >> " + k.asked}
}

func (k *kernel) timesAsked() int {
	b, _ := os.ReadFile(k.asked)
	return bytes.Count(b, []byte("\n"))
}

// goDown runs the agent until it has asked for the reboot, and then ends it.
func (k *kernel) goDown() {
	k.t.Helper()
	ctx, cancel := context.WithCancel(k.t.Context())
	ended := make(chan error)
	go func() { ended <- k.run(ctx) }()
	require.Eventually(k.t, func() bool { return k.timesAsked() == 1 }, 10*time.Second, 5*time.Millisecond)
	cancel()
	require.NoError(k.t, <-ended)
}

// A reboot succeeds once the agent runs in another boot, and is asked for once.
func TestReboot(t *testing.T) {
	k := newKernel(t)
	k.order(api.KindReboot, "")
	k.goDown()
	reports := outbox(t, k.journal)
	require.Equal(t, api.StateRunning, reports[len(reports)-1].State, "nobody knows yet how it ends")
	k.comesUp("two")
	require.Equal(t, api.StateSucceeded, k.work().State)
	require.Equal(t, 1, k.timesAsked())
}

// The agent that starts again in the same boot does not ask again.
func TestRebootThatDoesNotCome(t *testing.T) {
	k := newKernel(t)
	k.order(api.KindReboot, "")
	k.goDown()
	k.comesUp("one")
	k.engine.Host.DownWithin = time.Millisecond
	r := k.work()
	require.Equal(t, api.StateFailed, r.State)
	require.Contains(t, r.Failure.Message, "did not go down")
	require.Equal(t, 1, k.timesAsked())
}

func TestRebootIsRefused(t *testing.T) {
	for reason, spoil := range map[string]func(*kernel){
		"--allow-reboot":  func(k *kernel) { k.allowReboot = false },
		"package manager": func(k *kernel) { k.readiness = func() *api.Readiness { return &api.Readiness{PackageLock: new(true)} } },
		"maintenance": func(k *kernel) {
			k.readiness = func() *api.Readiness {
				return &api.Readiness{Blocked: []api.Blocked{{Gate: "window", Reason: "maintenance"}}}
			}
		},
		"tell its boots":     func(k *kernel) { k.engine.Host.BootIDFile = filepath.Join(k.dir, "none") },
		"does not take the ": func(k *kernel) { k.engine.Host.RebootCommand = []string{"/bin/false"} },
	} {
		k := newKernel(t)
		spoil(k)
		k.order(api.KindReboot, "")
		r := k.work()
		require.Equal(t, api.StateFailed, r.State)
		require.Contains(t, r.Failure.Message, reason)
		require.Zero(t, k.timesAsked())
	}
}

// addModule signs a bundle of scripts as a version of app.
func (m *machine) addModule(version string, files map[string]string) {
	m.t.Helper()
	bundle := installtest.Bundle(m.t, files)
	target := trusttest.Target("app", version, "app.tar", bundle, "info of "+version, 1<<18)
	target.Custom.Install = &api.Install{Type: api.InstallExec, UnpackedSize: 1 << 20, UnpackedFiles: len(files), Params: map[string]string{"who": "world"}}
	m.shelf.signed[target.Path], m.shelf.content[target.Custom.InfoHash] = target, bundle
}

const greeting = "#!/bin/sh\necho \"hello $REDFLAG_PARAM_who from $REDFLAG_VERSION\"\necho >> \"$REDFLAG_STATE_DIR/ran\"\n"

func (m *machine) runModule(version string) api.Report {
	m.t.Helper()
	m.order(api.KindRunModule, version)
	return m.work()
}

func (m *machine) timesRun() int {
	b, _ := os.ReadFile(m.versions.Path("app", "state", "ran"))
	return bytes.Count(b, []byte("\n"))
}

func TestRunModule(t *testing.T) {
	m := newMachine(t)
	m.addModule("1.0", map[string]string{"run": greeting})
	r := m.runModule("1.0")
	require.Equal(t, api.StateSucceeded, r.State, r.Failure)
	require.Equal(t, "hello world from 1.0\n", r.Log.Stdout)
	require.Equal(t, 0, *r.Log.ExitCode)
	require.Equal(t, api.StateSucceeded, m.runModule("1.0").State, "another command runs it again")
	require.Equal(t, 2, m.timesRun())
	require.Equal(t, []string{"ran", "state"}, names(t, m.versions.Path("app")), "nothing is installed or left")

	m.addModule("2.0", map[string]string{"run": "#!/bin/sh\necho oops >&2\nexit 3\n"})
	r = m.runModule("2.0")
	require.Equal(t, api.ErrorInstall, r.Failure.Class)
	require.Equal(t, 3, *r.Log.ExitCode)
	require.Equal(t, "oops\n", r.Log.Stdout)
	require.Equal(t, api.ErrorDowngrade, m.runModule("1.0").Failure.Class, "2.0 was run")
	require.Equal(t, 2, m.timesRun())
}

func TestRunModuleRefuses(t *testing.T) {
	for reason, spoil := range map[string]func(*machine){
		"no such target": func(m *machine) { delete(m.shelf.signed, "app/1.0") },
		"wrong":          func(m *machine) { m.shelf.content["info of 1.0"][700] ^= 1 },
		"--type exec":    func(m *machine) { m.shelf.add("1.0") },
		"called run":     func(m *machine) { m.addModule("1.0", map[string]string{"install": greeting}) },
		"other machines": func(m *machine) {
			target := m.shelf.signed["app/1.0"]
			target.Custom.For = &api.TargetFor{OS: []string{"plan9"}}
			m.shelf.signed["app/1.0"] = target
		},
	} {
		m := newMachine(t)
		m.addModule("1.0", map[string]string{"run": greeting})
		spoil(m)
		r := m.runModule("1.0")
		require.Equal(t, api.StateFailed, r.State, reason)
		require.Equal(t, api.ErrorVerify, r.Failure.Class, reason)
		require.Contains(t, r.Failure.Message, reason)
		require.Zero(t, m.timesRun(), reason)
	}
}

// A run that a crash has torn is not repeated: nobody knows how far it came.
func TestTornRunIsNotRepeated(t *testing.T) {
	m := newMachine(t)
	m.addModule("1.0", map[string]string{"run": greeting})
	m.order(api.KindRunModule, "1.0")
	e := next(t, m.journal)
	require.NoError(t, m.journal.start(e))
	e.Ran = true
	require.NoError(t, m.journal.note(e))
	m.boot()
	r := m.work()
	require.Equal(t, api.StateFailed, r.State)
	require.Contains(t, r.Failure.Message, "is not run twice")
	require.Zero(t, m.timesRun())
}

func TestCollectLogs(t *testing.T) {
	tools := t.TempDir()
	journalctl := "#!/bin/sh\nyes 'a line of the service' | head -n 4000\necho the last line\n"
	require.NoError(t, os.WriteFile(filepath.Join(tools, "journalctl"), []byte(journalctl), 0o755))
	t.Setenv("PATH", tools+":"+os.Getenv("PATH"))
	m := newMachine(t, "1.0")
	require.Equal(t, api.StateSucceeded, m.install("1.0").State)
	var out bytes.Buffer
	m.log = hclog.New(&hclog.LoggerOptions{Output: &out, JSONFormat: true})
	m.order(api.KindCollectLogs, "")
	r := m.work()
	require.Equal(t, api.StateSucceeded, r.State)
	require.Contains(t, r.Log.Stdout, "redflag logs --correlation")
	for _, want := range []string{`"part":"process"`, `"part":"readiness"`, `"part":"artifacts"`, `\"version\":\"1.0\"`, "the last line"} {
		require.Contains(t, out.String(), want)
	}
	require.Less(t, out.Len(), 2*maxPart, "what is collected is bounded")
	for line := range strings.Lines(out.String()) {
		require.Less(t, len(line), api.MaxLogLine)
	}
}

// The labels that signed constraints go by change on the machine, at once, and only
// there.
func TestRelabel(t *testing.T) {
	m := newMachine(t)
	_, err := Relabel(m.dir, map[string]string{"ring": "early"}, nil)
	require.Equal(t, api.CodeNotFound, api.CodeOf(err), "nothing is enrolled here")
	require.NoError(t, os.MkdirAll(filepath.Join(m.dir, "identity"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(m.dir, "identity", pki.KeyFile), nil, 0o600))
	require.NoError(t, saveLabels(m.dir, map[string]string{"ring": "late"}))
	m.shelf.add("1.0")
	target := m.shelf.signed["app/1.0"]
	target.Custom.For = &api.TargetFor{Labels: map[string]string{"ring": "early"}}
	m.shelf.signed["app/1.0"] = target
	require.Equal(t, api.ErrorVerify, m.install("1.0").Failure.Class)

	labels, err := Relabel(m.dir, map[string]string{"ring": "early", "floor": "2"}, []string{"none"})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"ring": "early", "floor": "2"}, labels)
	require.Equal(t, api.StateSucceeded, m.install("1.0").State)
	_, err = Relabel(m.dir, map[string]string{"a b": "c"}, nil)
	require.Equal(t, api.CodeInvalid, api.CodeOf(err))
}
