package e2e

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/bench/row"
)

// pollCost is the value of REDFLAG_FLEET that measures what a poll costs.
const pollCost = "polls"

// fleetRun is how large a fleet is and what it does. REDFLAG_FLEET sets the
// number of agents for a measurement; the small run shows that the parts work.
type fleetRun struct {
	agents   int
	interval time.Duration // of idle polls
	steady   time.Duration // how long they are measured
}

func fleetSize(t *testing.T) fleetRun {
	t.Helper()
	s := os.Getenv("REDFLAG_FLEET")
	switch s {
	case pollCost:
		t.Skip("only the cost of a poll is measured")
	case "":
		if testing.Short() {
			t.Skip("two thousand agents take their while")
		}
		return fleetRun{agents: 2000, interval: 2 * time.Second, steady: 5 * time.Second}
	}
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return fleetRun{agents: n, interval: time.Minute, steady: 2 * time.Minute}
}

// TestFleet: a node bears a fleet that polls over TLS sessions of its own, and
// a rollout to all of it completes.
func TestFleet(t *testing.T) {
	run := fleetSize(t)
	// As docs/operations/sizing.md has it for a node with few cores.
	t.Setenv("GOGC", "400")
	t.Setenv("GOMEMLIMIT", "1400MiB")
	if os.Getenv("REDFLAG_FLEET") != "" { // a test alone leaves the system as it is
		hugePages(t)
	}
	m := newMesh(t)
	n1 := m.found()
	m.run("settings", "set", "poll.idle="+run.interval.String(), "poll.pending=5s", "poll.installing=5s",
		"poll.budget=5000", "poll.connections=1000", "enrol.budget=5000")
	m.publish("1.0.0", payload(1, 1<<10))

	f := m.fleet(run, n1)
	enrolled := f.enrolled()
	t.Logf("%d agents enrolled in %.1f s", run.agents, enrolled)
	// The first polls bring confirmations, which a fleet that runs does not.
	f.windows(2 * run.interval)
	idle := f.windows(run.steady)
	idle.log(t, "idle")
	require.Empty(t, idle.Errors)
	require.Zero(t, idle.Paced)
	leaveRow(t, "enrolments per second", float64(run.agents)/enrolled, "", "")
	leaveRow(t, "polls in two minutes, none with an error", float64(idle.Polls), "", "")
	leaveRow(t, "polls that took over 250 ms", 100*float64(idle.Slow)/float64(idle.Polls), "%", "≤ 1")
	leaveRow(t, "poll, worst second, p99", idle.P99, "ms", "")
	leaveRow(t, "node, most memory", float64(idle.MaxRSS>>20), "MiB", "≤ 1,500")

	began := time.Now()
	var r rollout
	m.runJSON(&r, "rollout", "create", "app", "--version", "1.0.0", "--to", "all")
	var rolling fleetWindow
	m.within(10*time.Minute, "the rollout ends", func() bool {
		rolling.add(f.windows(time.Second))
		r.Counts = nil
		m.runJSON(&r, "rollout", "show", r.ID)
		return r.State == "done"
	})
	rolling.log(t, "rollout")
	took := time.Since(began)
	t.Logf("rollout to %d agents done in %s", run.agents, took.Round(100*time.Millisecond))
	require.Equal(t, run.agents, r.Counts["succeeded"])
	require.Empty(t, rolling.Errors)
	leaveRow(t, "rollout to all of them", took.Seconds(), "s", "")
	leaveRow(t, "polls during the rollout that took over 250 ms", 100*float64(rolling.Slow)/float64(rolling.Polls), "%", "")
}

// TestPollCost measures what a poll costs a node, over a connection that is
// kept, and over one that resumes its TLS session.
func TestPollCost(t *testing.T) {
	if os.Getenv("REDFLAG_FLEET") != pollCost {
		t.Skip("make bench measures it")
	}
	run := fleetRun{agents: 10_000, interval: 6 * time.Second, steady: 20 * time.Second}
	m := newMesh(t)
	n1 := m.found()
	m.run("settings", "set", "poll.idle="+run.interval.String(), "poll.budget=5000", "enrol.budget=5000")
	for _, way := range []struct{ name, prefix, connections string }{
		{"connection kept", "kept", "1000000"},
		{"TLS session resumed", "resumed", "0"},
	} {
		m.run("settings", "set", "poll.connections="+way.connections)
		f := m.fleet(run, n1, "--prefix", way.prefix)
		f.enrolled()
		f.windows(2 * run.interval)
		w := f.windows(run.steady)
		w.log(t, way.name)
		require.Empty(t, w.Errors)
		require.Equal(t, way.connections == "0", w.Resumed > w.Polls/2)
		leaveRow(t, "processor time of the node, "+way.name, w.NodeCPU, "µs", "")
		leaveRow(t, "agents per core at 60 s, "+way.name, time.Minute.Seconds()*1e6/w.NodeCPU, "", "")
		f.stop()
	}
}

// hugePages has the kernel hand out memory in large pages for the time of a
// test, where it may be told: on virtual machines a fault of a small one is dear.
func hugePages(t *testing.T) {
	t.Helper()
	const file = "/sys/kernel/mm/transparent_hugepage/enabled"
	before, err := os.ReadFile(file)
	_, mode, _ := strings.Cut(string(before), "[")
	mode, _, marked := strings.Cut(mode, "]")
	if err == nil && marked {
		err = os.WriteFile(file, []byte("always"), 0)
	}
	if err != nil {
		t.Logf("large pages are as the system has them: %v", err)
		return
	}
	t.Cleanup(func() { require.NoError(t, os.WriteFile(file, []byte(mode), 0)) })
}

func leaveRow(t *testing.T, name string, value float64, unit, goal string) {
	t.Helper()
	require.NoError(t, row.Add(name, value, unit, goal))
}

// fleet is the running process of the fleet.
type fleet struct {
	t    *testing.T
	out  *bufio.Scanner
	stop func() // what a fleet does as its time ends
}

// fleetWindow is what a fleet says about a stretch of time. See examples/fleet.
type fleetWindow struct {
	Seconds   float64        `json:"seconds"`
	Enrolled  int            `json:"enrolled"`
	Polls     int            `json:"polls"`
	P50       float64        `json:"p50_ms"`
	P99       float64        `json:"p99_ms"`
	Max       float64        `json:"max_ms"`
	Slow      int            `json:"over_250_ms"`
	Handshook int            `json:"handshakes"`
	Resumed   int            `json:"resumed"`
	Paced     int            `json:"paced"`
	Lost      int            `json:"lost"`
	Errors    map[string]int `json:"errors"`
	NodeCPU   float64        `json:"node_cpu_us_per_poll"`
	NodeCores float64        `json:"node_cores"`
	MaxRSS    int64          `json:"node_max_rss"`
}

func (m *mesh) fleet(run fleetRun, node *proc, extra ...string) *fleet {
	m.t.Helper()
	bin := filepath.Join(m.t.TempDir(), "fleet")
	out, err := exec.CommandContext(m.t.Context(), "go", "build", "-o", bin, "redflag/examples/fleet").CombinedOutput()
	require.NoError(m.t, err, "%s", out)
	token := m.run("token", "create", "--seats", strconv.Itoa(run.agents))
	cmd := exec.Command(bin, append([]string{
		"--node", node.runtime.Mesh, "--agents", strconv.Itoa(run.agents), "--enrol-rate", "3000",
		"--spread", run.interval.String(), "--for", "0", "--workers", "64", "--every", "1s", "--json", "--pid", strconv.Itoa(node.cmd.Process.Pid),
	}, extra...)...)
	// The processor is for the node beside it. With more, the fleet would take
	// pages that it never used before all through the run.
	cmd.Env = append(os.Environ(), "REDFLAG_TOKEN="+token, "GOGC=800", "GOMEMLIMIT=off")
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	require.NoError(m.t, err)
	require.NoError(m.t, cmd.Start())
	stop := sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_, _ = io.Copy(io.Discard, pipe)
		require.NoError(m.t, cmd.Wait())
	})
	m.t.Cleanup(stop)
	return &fleet{m.t, bufio.NewScanner(pipe), stop}
}

// enrolled waits until all agents are members, and returns how many seconds
// that took.
func (f *fleet) enrolled() float64 {
	f.t.Helper()
	w := f.line()
	for ; w.Enrolled == 0; w = f.line() {
	}
	return w.Seconds
}

// line waits for the next figures.
func (f *fleet) line() (w fleetWindow) {
	f.t.Helper()
	for w.Seconds == 0 { // until then it counts enrolments
		require.True(f.t, f.out.Scan(), "the fleet has ended")
		require.NoError(f.t, json.Unmarshal(f.out.Bytes(), &w))
	}
	return w
}

// windows adds up the figures of a stretch of time, at least one line.
func (f *fleet) windows(span time.Duration) (all fleetWindow) {
	f.t.Helper()
	for all.add(f.line()); all.Seconds < span.Seconds(); {
		all.add(f.line())
	}
	return all
}

// add joins two stretches; of their quantiles the worse one counts.
func (w *fleetWindow) add(o fleetWindow) {
	if w.Errors == nil {
		w.Errors = map[string]int{}
	}
	for k, n := range o.Errors {
		w.Errors[k] += n
	}
	polls := float64(max(1, w.Polls+o.Polls))
	w.NodeCPU = (w.NodeCPU*float64(w.Polls) + o.NodeCPU*float64(o.Polls)) / polls
	span := w.Seconds + o.Seconds
	w.NodeCores = (w.NodeCores*w.Seconds + o.NodeCores*o.Seconds) / span
	w.Seconds, w.Polls = span, w.Polls+o.Polls
	w.Handshook, w.Resumed = w.Handshook+o.Handshook, w.Resumed+o.Resumed
	w.Paced, w.Lost = w.Paced+o.Paced, w.Lost+o.Lost
	w.P50, w.P99, w.Max = max(w.P50, o.P50), max(w.P99, o.P99), max(w.Max, o.Max)
	w.Slow += o.Slow
	w.MaxRSS = max(w.MaxRSS, o.MaxRSS)
}

func (w *fleetWindow) log(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s: %d polls in %.0f s, worst second p50 %.1f ms, p99 %.1f ms, max %.0f ms; %d over 250 ms; %d handshakes, %d resumed; %d paced; errors %v; node %.0f µs a poll, %.2f cores, %d MiB at most",
		what, w.Polls, w.Seconds, w.P50, w.P99, w.Max, w.Slow, w.Handshook, w.Resumed, w.Paced, w.Errors, w.NodeCPU, w.NodeCores, w.MaxRSS>>20)
}
