package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience bounds every wait for something that must happen.
const patience = 120 * time.Second

// sideBySide is how many tests run at the same time: they wait more than they work.
const sideBySide = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", sideBySide)
	}
	os.Exit(m.Run())
}

var buildOnce = sync.OnceValues(func() (string, error) {
	if bin := os.Getenv("REDFLAG_BINARY"); bin != "" {
		return bin, nil
	}
	dir, err := os.MkdirTemp("", "redflag-e2e-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "redflag")
	cmd := exec.Command("go", "build", "-o", bin, "redflag/cmd/redflag")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

// mesh is a cluster of processes under one folder.
type mesh struct {
	t     *testing.T
	bin   string
	dir   string
	first *proc
	// host is where the next process starts, and operator where the CLI runs;
	// nil is this machine's own network.
	host, operator runner
}

// runner makes commands that run on a machine of a test network.
type runner interface {
	Command(ctx context.Context, name string, args ...string) *exec.Cmd
}

func commandOn(ctx context.Context, on runner, name string, args ...string) *exec.Cmd {
	if on == nil {
		return exec.CommandContext(ctx, name, args...)
	}
	return on.Command(ctx, name, args...)
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	bin, err := buildOnce()
	require.NoError(t, err)
	return &mesh{t: t, bin: bin, dir: t.TempDir()}
}

func (m *mesh) path(elem ...string) string { return filepath.Join(append([]string{m.dir}, elem...)...) }

// try runs the CLI as an operator and returns what it printed.
func (m *mesh) try(args ...string) (stdout, stderr string, err error) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	cmd := commandOn(ctx, m.operator, m.bin, args...)
	cmd.Env = append(os.Environ(),
		"REDFLAG_CREDENTIAL="+m.path("n1", "operator.json"), "REDFLAG_KEYS="+m.path("keys"), "REDFLAG_PLAIN_KEYS=true")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err = cmd.Run()
	return out.String(), errOut.String(), err
}

func (m *mesh) run(args ...string) string {
	m.t.Helper()
	out, errOut, err := m.try(args...)
	require.NoError(m.t, err, "redflag %s\n%s%s", strings.Join(args, " "), out, errOut)
	return strings.TrimSpace(out)
}

// runJSON decodes what a command prints. What into held before is gone: a field
// that is left out would keep its value inside a slice that is used again.
func (m *mesh) runJSON(into any, args ...string) {
	m.t.Helper()
	reflect.ValueOf(into).Elem().SetZero()
	require.NoError(m.t, json.Unmarshal([]byte(m.run(append(args, "--json")...)), into))
}

// found starts the first node, makes the keys and shortens the polls.
func (m *mesh) found() *proc {
	m.t.Helper()
	return m.foundBy(m.node("n1", "eu"))
}

// foundBy makes a cluster of the first node.
func (m *mesh) foundBy(first *proc) *proc {
	m.t.Helper()
	m.first = first
	m.eventually("the first node founds a cluster", func() bool {
		_, _, err := m.try("keys", "init")
		return err == nil
	})
	m.run("settings", "set", "poll.idle=1s", "poll.pending=300ms", "poll.downloading=300ms", "poll.failing=300ms", "poll.installing=300ms", "poll.degraded=1s")
	return m.first
}

func (m *mesh) node(id, region string, extra ...string) *proc {
	m.t.Helper()
	args := append([]string{
		"node", "--id", id, "--region", region, "--data-dir", m.path(id),
		"--mesh-listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0",
	}, extra...)
	p := m.start(id, args...)
	m.eventually("node "+id+" starts", func() bool { return readJSON(m.path(id, "runtime.json"), &p.runtime) == nil })
	return p
}

func (m *mesh) agent(id, region string, via *proc, extra ...string) *proc {
	m.t.Helper()
	token := m.run("token", "create")
	return m.start(id, append([]string{
		"agent", "--id", id, "--region", region, "--data-dir", m.path(id),
		"--node", via.runtime.Mesh, "--swarm-listen", "127.0.0.1:0", "--token", token,
	}, extra...)...)
}

// publish signs payload as version of "app".
func (m *mesh) publish(version string, payload []byte) {
	m.t.Helper()
	file := m.path("app.bin")
	require.NoError(m.t, os.WriteFile(file, payload, 0o600))
	m.run("publish", file, "--name", "app", "--version", version)
}

type rollout struct {
	ID            string         `json:"id"`
	State         string         `json:"state"`
	Counts        map[string]int `json:"counts"`
	CorrelationID string         `json:"correlation_id"`
}

type command struct {
	State   string `json:"state"`
	Failure *struct {
		Class   string `json:"class"`
		Message string `json:"message"`
	} `json:"failure"`
	Log struct {
		Stdout string `json:"stdout"`
	} `json:"log"`
}

// rollOut creates a rollout and waits for its end.
func (m *mesh) rollOut(args ...string) rollout {
	m.t.Helper()
	var r rollout
	m.runJSON(&r, append([]string{"rollout", "create", "app"}, args...)...)
	m.eventually("rollout "+r.ID+" ends", func() bool {
		m.runJSON(&r, "rollout", "show", r.ID)
		return r.State == "done"
	})
	return r
}

func (m *mesh) command(r rollout, agent string) command {
	m.t.Helper()
	var c command
	m.runJSON(&c, "commands", r.ID+":"+agent)
	return c
}

// installed returns the bytes that an agent runs.
func (m *mesh) installed(agent string) string {
	m.t.Helper()
	b, err := os.ReadFile(m.path(agent, "artifacts", "app", "current", "app.bin"))
	require.NoError(m.t, err)
	return string(b)
}

func (m *mesh) log(id string) string {
	m.t.Helper()
	b, err := os.ReadFile(m.path(id + ".log"))
	require.NoError(m.t, err)
	return string(b)
}

func (m *mesh) eventually(what string, ok func() bool) {
	m.t.Helper()
	m.within(patience, what, ok)
}

func (m *mesh) within(limit time.Duration, what string, ok func() bool) {
	m.t.Helper()
	require.Eventually(m.t, ok, limit, 100*time.Millisecond, what)
}

// proc is a running node or agent.
type proc struct {
	t       *testing.T
	id      string
	bin     string
	args    []string
	host    runner
	log     string
	cmd     *exec.Cmd
	done    chan struct{}
	runtime struct{ Mesh, API string }
}

func (m *mesh) start(id string, args ...string) *proc {
	m.t.Helper()
	p := &proc{t: m.t, id: id, bin: m.bin, args: args, host: m.host, log: m.path(id + ".log")}
	p.start()
	m.t.Cleanup(func() {
		p.kill()
		if m.t.Failed() {
			m.t.Logf("log of %s:\n%s", id, tail(p.log))
		}
	})
	return p
}

func (p *proc) start() {
	p.t.Helper()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.t, err)
	defer log.Close()
	cmd, done := commandOn(context.Background(), p.host, p.bin, p.args...), make(chan struct{})
	cmd.Stdout, cmd.Stderr = log, log
	require.NoError(p.t, cmd.Start())
	go func() { _ = cmd.Wait(); close(done) }()
	p.cmd, p.done = cmd, done
}

func (p *proc) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// stop ends the process as Ctrl-C does and returns its exit code.
func (p *proc) stop() int {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(os.Interrupt))
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Errorf("%s does not stop on Ctrl-C", p.id)
		p.kill()
	}
	return p.cmd.ProcessState.ExitCode()
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func tail(path string) string {
	b, _ := os.ReadFile(path)
	if len(b) > 6000 {
		b = b[len(b)-6000:]
	}
	return string(b)
}
