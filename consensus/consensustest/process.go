//go:build unix

package consensustest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"
)

// Processes is a cluster whose nodes are processes of their own, so that they
// can really be killed, stopped and cut off. Clients reach a node by a socket
// in the file system, whatever happens to its network.
type Processes struct {
	tb      testing.TB
	dir     string
	configs []childConfig
	clients []*http.Client
	net     *Namespaces // nil on loopback

	mu    sync.Mutex
	procs []*exec.Cmd // nil where a node is down
}

// Options says how Processes are started.
type Options struct {
	Nodes   int
	Timeout time.Duration // of heartbeat and election
	// Namespaces gives each node a network namespace, so that Partition works.
	// It needs root and skips the test without.
	Namespaces bool
	// NoHint has a dead leader found by the timeout alone.
	NoHint bool
}

// StartProcesses starts a cluster. TestMain must call RunChild.
func StartProcesses(tb testing.TB, o Options) *Processes {
	tb.Helper()
	dir, err := os.MkdirTemp("", "rfc") //nolint:usetesting // the path of a socket may have about 100 bytes
	require.NoError(tb, err)
	p := &Processes{tb: tb, dir: dir, procs: make([]*exec.Cmd, o.Nodes)}
	if o.Namespaces {
		p.net = NewNamespaces(tb, o.Nodes)
	}
	tb.Cleanup(p.close)
	for i := range o.Nodes {
		cfg := childConfig{ID: name(i), Dir: dir, Host: "127.0.0.1", Timeout: o.Timeout, NoHint: o.NoHint}
		if p.net != nil {
			cfg.Host = p.net.Host(i)
		}
		p.configs = append(p.configs, cfg)
		p.clients = append(p.clients, &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: 64,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, "unix", cfg.control())
			},
		}})
		p.Start(i)
	}
	p.succeeds(0, Request{Bootstrap: true})
	for i := 1; i < o.Nodes; i++ {
		p.succeeds(0, Request{Join: name(i)})
	}
	p.Must(Request{Tick: true})
	return p
}

func (p *Processes) succeeds(i int, r Request) {
	p.tb.Helper()
	var last any
	require.Eventually(p.tb, func() bool {
		resp, err := p.Call(p.tb.Context(), i, r)
		last = []any{resp.Error, err}
		return err == nil && resp.Error == nil
	}, patience, interval*4, "node %d does not take %+v: %v\n%s", i, r, &last, p.tail(i))
}

// Start starts a node on the files that it left.
func (p *Processes) Start(i int) {
	p.tb.Helper()
	env, err := json.Marshal(p.configs[i])
	require.NoError(p.tb, err)
	args := []string{os.Args[0]}
	if p.net != nil {
		args = append(p.net.Enter(i), args...)
	}
	log, err := os.OpenFile(p.logFile(i), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	require.NoError(p.tb, err)
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...) //nolint:gosec,noctx // this binary; it ends with the test
	cmd.Env = append(os.Environ(), childEnv+"="+string(env))
	cmd.Stdout, cmd.Stderr = log, log
	_, err = cmd.StdinPipe() // closes with this process, which the node notices
	require.NoError(p.tb, err)
	require.NoError(p.tb, cmd.Start())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.procs[i] = cmd
}

func (p *Processes) logFile(i int) string { return filepath.Join(p.dir, name(i)+".log") }

func (p *Processes) tail(i int) string {
	b, _ := os.ReadFile(p.logFile(i))
	return string(b[max(0, len(b)-60000):])
}

// Logs returns the end of every node's log.
func (p *Processes) Logs() string {
	var out strings.Builder
	for i := range p.configs {
		fmt.Fprintf(&out, "--- %s\n%s\n", name(i), p.tail(i))
	}
	return out.String()
}

// Kill ends a node by SIGKILL.
func (p *Processes) Kill(i int) {
	p.mu.Lock()
	cmd := p.procs[i]
	p.procs[i] = nil
	p.mu.Unlock()
	if cmd != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		p.clients[i].CloseIdleConnections()
	}
}

// Signal sends a signal to a node that runs, SIGSTOP or SIGCONT.
func (p *Processes) Signal(i int, sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.procs[i] != nil {
		_ = p.procs[i].Process.Signal(sig)
	}
}

// Runs reports whether a node's process was started and not killed.
func (p *Processes) Runs(i int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.procs[i] != nil
}

// Partition cuts the nodes in a group off from all others.
func (p *Processes) Partition(group ...int) { p.net.Split(group) }

// Heal undoes Partition.
func (p *Processes) Heal() { p.net.Split(nil) }

// Call asks one node. An error means that its answer is lost, or never came.
func (p *Processes) Call(ctx context.Context, i int, r Request) (Response, error) {
	var resp Response
	body, err := cbor.Marshal(r)
	if err != nil {
		return resp, err
	}
	out, err := post(ctx, p.clients[i], "http://node/", body)
	if err != nil {
		return resp, err
	}
	return resp, cbor.Unmarshal(out, &resp)
}

// Must asks one node after the other until one has done it.
func (p *Processes) Must(r Request) Response {
	p.tb.Helper()
	var resp Response
	i := 0
	require.Eventually(p.tb, func() bool {
		ctx, cancel := context.WithTimeout(p.tb.Context(), 10*time.Second)
		defer cancel()
		var err error
		resp, err = p.Call(ctx, i%len(p.configs), r)
		i++
		return err == nil && resp.Error == nil
	}, 2*patience, interval, "no node takes %+v\n%s", r, p.tail(0))
	return resp
}

// Leader returns the number of the node that leads, or -1.
func (p *Processes) Leader() int {
	best, term := -1, uint64(0)
	for i := range p.configs {
		if !p.Runs(i) {
			continue
		}
		ctx, cancel := context.WithTimeout(p.tb.Context(), time.Second)
		resp, err := p.Call(ctx, i, Request{})
		cancel()
		if err == nil && resp.Status.State == "Leader" && resp.Status.Term > term {
			best, term = i, resp.Status.Term
		}
	}
	return best
}

// WaitLeader waits for a leader and returns its number.
func (p *Processes) WaitLeader() int {
	p.tb.Helper()
	leader := -1
	require.Eventually(p.tb, func() bool {
		leader = p.Leader()
		return leader >= 0
	}, 2*patience, interval*2, "no leader")
	return leader
}

// WaitConverged waits until every node has applied what was committed before.
func (p *Processes) WaitConverged() {
	p.tb.Helper()
	index := p.Must(Request{Tick: true}).Result.Index
	for i := range p.configs {
		require.Eventually(p.tb, func() bool {
			ctx, cancel := context.WithTimeout(p.tb.Context(), time.Second)
			defer cancel()
			resp, err := p.Call(ctx, i, Request{})
			return err == nil && resp.Status.AppliedIndex >= index
		}, 2*patience, interval*4, "node %d does not catch up", i)
	}
}

func (p *Processes) close() {
	for i := range p.configs {
		p.Signal(i, syscall.SIGCONT)
		p.Kill(i)
	}
	if p.tb.Failed() || os.Getenv("REDFLAG_TEST_LOGS") != "" {
		p.tb.Log(p.Logs())
	}
	_ = os.RemoveAll(p.dir)
}
