//go:build unix

package consensus_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus/consensustest"
	"redflag/consensus/state"
)

var (
	faultTime = flag.Duration("faults", time.Minute, "how long TestLinearizable injects faults")
	faultSeed = flag.Uint64("fault-seed", 0, "seed of TestLinearizable's faults; 0 draws one")
)

const (
	linNodes   = 3
	linClients = 8
	linAgents  = 4
	linTimeout = 500 * time.Millisecond // of election
)

// TestLinearizable lets clients work on a cluster of real processes while they
// are killed, restarted, paused, cut off from each other, and lead in turn. What
// the clients were told must be explained by one order of events: then no
// acknowledged write is lost, a command ends once, and none that runs is handed
// out again.
func TestLinearizable(t *testing.T) {
	if testing.Short() {
		t.Skip("injects faults for a minute")
	}
	seed := *faultSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	p := consensustest.StartProcesses(t, consensustest.Options{Nodes: linNodes, Timeout: linTimeout, Namespaces: true})
	agents := make([]string, linAgents)
	for i := range agents {
		agents[i] = fmt.Sprintf("a%d", i)
	}
	prepare(p, agents...)
	t.Logf("faults for %s with -fault-seed=%d", *faultTime, seed)

	h := &history{began: time.Now()}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	for client := range linClients {
		wg.Go(func() { h.work(ctx, p, client, rand.New(rand.NewPCG(seed, uint64(client)))) })
	}
	faults := inject(t, p, rand.New(rand.NewPCG(seed, 1<<32)))
	stop()
	wg.Wait()
	h.readAll(t, p)

	counts := h.counts()
	t.Logf("faults: %v", faults)
	t.Logf("operations: %v", counts)
	require.Greater(t, counts["done"], 100, "the cluster did next to nothing")
	began := time.Now()
	verdict, info := porcupine.CheckOperationsVerbose(commandModel, h.ops, 2*time.Minute)
	t.Logf("history of %d operations on %d commands checked in %s: %s", len(h.ops), len(h.commands), time.Since(began).Round(time.Millisecond), verdict)
	if verdict != porcupine.Ok {
		path := filepath.Join(os.TempDir(), fmt.Sprintf("redflag-history-%d.html", seed))
		require.NoError(t, porcupine.VisualizePath(commandModel, info, path))
		t.Fatalf("no order of events explains what the clients were told (%s): see %s; repeat with -fault-seed=%d", verdict, path, seed)
	}
}

// inject breaks things for a while, mends everything, and says what it did.
func inject(t *testing.T, p *consensustest.Processes, r *rand.Rand) map[string]int {
	t.Helper()
	done := map[string]int{}
	rest := func(lo, hi time.Duration) { time.Sleep(lo + time.Duration(r.Int64N(int64(hi-lo)))) }
	for end := time.Now().Add(*faultTime); time.Now().Before(end); {
		node := r.IntN(linNodes)
		if leader := p.Leader(); leader >= 0 && r.IntN(2) == 0 {
			node = leader // which hurts most
		}
		other := (node + 1 + r.IntN(linNodes-1)) % linNodes
		switch fault := r.IntN(6); fault {
		case 0:
			done["kill -9"]++
			p.Kill(node)
			rest(0, 3*linTimeout)
			p.Start(node)
		case 1:
			done["kill -9 of a majority"]++
			p.Kill(node)
			p.Kill(other)
			rest(0, 2*linTimeout)
			p.Start(node)
			p.Start(other)
		case 2:
			done["transfer"]++
			ctx, cancel := context.WithTimeout(t.Context(), 2*linTimeout)
			_, _ = p.Call(ctx, node, consensustest.Request{Transfer: true}) // only a leader can
			cancel()
		case 3:
			done["pause"]++
			p.Signal(node, syscall.SIGSTOP)
			rest(linTimeout/2, 4*linTimeout)
			p.Signal(node, syscall.SIGCONT)
		case 4:
			done["partition"]++
			p.Partition(node)
			rest(linTimeout, 5*linTimeout)
			p.Heal()
		case 5:
			done["partition and kill -9"]++
			p.Partition(node)
			rest(0, 3*linTimeout)
			p.Kill(other)
			rest(0, linTimeout)
			p.Heal()
			p.Start(other)
		}
		rest(linTimeout/2, 3*linTimeout)
	}
	return done
}

// history is what the clients did and were told.
type history struct {
	began time.Time

	mu       sync.Mutex
	ops      []porcupine.Operation
	commands []string // in order of their making
}

// work makes commands and moves them on, at random, with several clients on the
// same ones, until ctx ends.
func (h *history) work(ctx context.Context, p *consensustest.Processes, client int, r *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		in := h.choose(client, n, r)
		node := r.IntN(linNodes)
		for !p.Runs(node) && ctx.Err() == nil {
			node = r.IntN(linNodes)
			time.Sleep(time.Millisecond)
		}
		h.do(ctx, p, client, node, in, fmt.Sprintf("c%d-%d", client, n))
		time.Sleep(time.Duration(r.IntN(8)) * time.Millisecond)
	}
}

// choose draws the next operation: a new command now and then, or one of the
// latest, which other clients are at as well.
func (h *history) choose(client, n int, r *rand.Rand) opInput {
	h.mu.Lock()
	defer h.mu.Unlock()
	const latest = 12
	if len(h.commands) < latest || r.IntN(6) == 0 {
		id := api.CommandID(fmt.Sprintf("r%d-%d", client, n), fmt.Sprintf("a%d", r.IntN(linAgents)))
		h.commands = append(h.commands, id)
		return opInput{kind: opEnqueue, command: id}
	}
	id := h.commands[len(h.commands)-1-r.IntN(latest)]
	switch r.IntN(8) {
	case 0:
		return opInput{kind: opEnqueue, command: id}
	case 1, 2, 3:
		return opInput{kind: opLease, command: id}
	case 4, 5:
		return opInput{kind: opReport, command: id, state: api.StateRunning}
	case 6:
		return opInput{kind: opReport, command: id, state: api.StateSucceeded}
	}
	return opInput{kind: opReport, command: id, state: api.StateFailed}
}

func (h *history) do(ctx context.Context, p *consensustest.Processes, client, node int, in opInput, reportID string) {
	rollout, agent, _ := api.SplitCommandID(in.command)
	var req consensustest.Request
	switch in.kind {
	case opEnqueue:
		req.Rollout = rolloutRequest(rollout, agent)
	case opLease:
		req.Lease = &state.Lease{AgentID: agent, CommandIDs: []string{in.command}, NodeID: "n1", Duration: 12 * time.Hour}
	case opReport:
		req.Reports = &state.Reports{Agents: []state.AgentReports{{AgentID: agent, Reports: []api.Report{
			{ID: reportID, CommandID: in.command, State: in.state},
		}}}}
	case opRead: // readAll does
	}
	call := time.Since(h.began)
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	resp, err := p.Call(ctx, node, req)
	out := opOutput{}
	switch {
	case api.CodeOf(err) == api.CodeUnavailable:
		return // the node was down: nobody heard of it
	case err != nil:
		out.unknown = true
	case resp.Error != nil && resp.Error.Code == api.CodeIndeterminate:
		out.unknown = true
	case resp.Error != nil:
		return // it promises that nothing happened
	default:
		out.code = api.CodeOf(resp.Result.Err())
	}
	h.add(client, in, out, call)
}

// forever is when an operation ends whose answer never came: it may still
// happen at any later time.
const forever = int64(1) << 62

func (h *history) add(client int, in opInput, out opOutput, call time.Duration) {
	op := porcupine.Operation{ClientId: client, Input: in, Output: out, Call: int64(call), Return: int64(time.Since(h.began))}
	if out.unknown {
		op.Return = forever
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
}

// readAll adds what every node holds at the end: it must agree with what was
// acknowledged, on each of them.
func (h *history) readAll(t *testing.T, p *consensustest.Processes) {
	t.Helper()
	p.WaitConverged()
	const chunk = 500
	for node := range linNodes {
		for at := 0; at < len(h.commands); at += chunk {
			ids := h.commands[at:min(at+chunk, len(h.commands))]
			call := time.Since(h.began)
			resp, err := p.Call(t.Context(), node, consensustest.Request{Commands: ids})
			require.NoError(t, err)
			for i, c := range resp.Commands {
				h.add(linClients+node, opInput{kind: opRead, command: ids[i]}, opOutput{state: c.State}, call)
			}
		}
	}
}

func (h *history) counts() map[string]int {
	counts := map[string]int{}
	for _, op := range h.ops {
		in, out := op.Input.(opInput), op.Output.(opOutput)
		switch {
		case in.kind == opRead:
			counts["read"]++
		case out.unknown:
			counts["unknown"]++
		case out.code == "":
			counts["done"]++
		default:
			counts["refused"]++
		}
	}
	return counts
}
