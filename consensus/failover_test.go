//go:build unix

package consensus_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/bench/row"
	"redflag/consensus/consensustest"
	"redflag/consensus/state"
)

// prepare gives a cluster one agent and one artifact, so that a rollout is a
// write that can be found again.
func prepare(p *consensustest.Processes, agents ...string) {
	meta := func(name string) state.Metadata { return state.Metadata{Version: 1, Bytes: []byte(name)} }
	hash := fmt.Sprintf("%064x", 1)
	p.Must(consensustest.Request{Token: &state.CreateToken{
		Token: api.Token{ID: "t1", Kind: api.TokenAgent, Seats: 100}, SecretHash: make([]byte, 32), TTL: 24 * time.Hour,
	}})
	for _, agent := range agents {
		p.Must(consensustest.Request{Enrol: &state.EnrolAgent{
			Agent: api.Agent{ID: agent, Region: "eu", KeyID: hash}, TokenID: "t1", TokenSecretHash: make([]byte, 32),
		}})
	}
	p.Must(consensustest.Request{Publish: &state.PublishArtifact{
		Artifact: api.Artifact{Name: "app", Version: "1.0.0", Length: 1, SHA256: hash, OriginNode: "n0"},
		Targets:  meta("targets"), Snapshot: meta("snapshot"), Timestamp: meta("timestamp"),
	}})
}

func rolloutRequest(id, agent string) *state.CreateRollout {
	return &state.CreateRollout{
		ID: id, Kind: api.KindInstall, Artifact: "app", Version: "1.0.0", Selector: api.Selector{Agents: []string{agent}},
	}
}

// writers write through all nodes until stopped and remember what was
// acknowledged, and when.
type writers struct {
	mu    sync.Mutex
	acked []string
	first time.Duration // from the last mark to the first write begun and acknowledged after it
	mark  time.Time
}

func (w *writers) run(ctx context.Context, p *consensustest.Processes, client, nodes int) {
	for n := 0; ctx.Err() == nil; n++ {
		select {
		case <-time.After(2 * time.Millisecond): // load, but not so much that the disk is all there is to see
		case <-ctx.Done():
		}
		node := (client + n) % nodes
		if !p.Runs(node) {
			continue
		}
		id := fmt.Sprintf("w%d-%d", client, n)
		began := time.Now()
		resp, err := p.Call(ctx, node, consensustest.Request{Rollout: rolloutRequest(id, "a1")})
		if err != nil || resp.Error != nil || resp.Result.Err() != nil {
			continue
		}
		w.mu.Lock()
		w.acked = append(w.acked, id)
		if began.After(w.mark) && w.first == 0 {
			w.first = time.Since(w.mark)
		}
		w.mu.Unlock()
	}
}

// after notes the moment, does something, and returns how long it took from
// then until a write that began later was acknowledged.
func (w *writers) after(t *testing.T, do func()) time.Duration {
	t.Helper()
	w.mu.Lock()
	w.mark, w.first = time.Now(), 0
	w.mu.Unlock()
	do()
	require.Eventually(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.first != 0
	}, time.Minute, time.Millisecond, "nothing is committed any more")
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.first
}

// TestFailover kills the leader's process under load, again and again: nothing
// that was acknowledged is lost, and writes go on soon. With
// REDFLAG_FAILOVER=timeout the dead leader is found by the timeout alone, as
// one is whose machine lost power.
func TestFailover(t *testing.T) {
	if testing.Short() {
		t.Skip("kills twenty leaders")
	}
	const nodes, kills, clients, timeout = 3, 20, 8, time.Second
	byTimeout := os.Getenv("REDFLAG_FAILOVER") == "timeout"
	p := consensustest.StartProcesses(t, consensustest.Options{Nodes: nodes, Timeout: timeout, NoHint: byTimeout})
	prepare(p, "a1")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	w := &writers{}
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() { w.run(ctx, p, i, nodes) })
	}
	var ratios []float64
	for range kills {
		leader := p.WaitLeader()
		took := w.after(t, func() { p.Kill(leader) })
		t.Logf("%s: leader n%d killed, next write after %s", time.Now().Format("15:04:05.000"), leader, took)
		ratios = append(ratios, took.Seconds()/timeout.Seconds())
		p.Start(leader)
		p.WaitConverged()
	}
	stop()
	wg.Wait()
	requireAcknowledged(t, p, w.acked, nodes)

	slices.Sort(ratios)
	median := (ratios[kills/2-1] + ratios[kills/2]) / 2
	t.Logf("%d kills of the leader under load, %d writes acknowledged, 0 lost", kills, len(w.acked))
	t.Logf("time to the next committed write, in election timeouts: min %.2f, median %.2f, max %.2f; all %.2f",
		ratios[0], median, ratios[kills-1], ratios)
	if !byTimeout {
		require.NoError(t, row.Add("writes acknowledged meanwhile, each found again", float64(len(w.acked)), "", ""))
		require.NoError(t, row.Add("time to the next committed write, in election timeouts, median", median, "", "≤ 2"))
		require.NoError(t, row.Add("the same, at most", ratios[kills-1], "", ""))
		require.LessOrEqual(t, median, 2.0)
	}
}

// requireAcknowledged asks every node for every write that was acknowledged.
func requireAcknowledged(t *testing.T, p *consensustest.Processes, acked []string, nodes int) {
	t.Helper()
	p.WaitConverged()
	require.NotEmpty(t, acked)
	for node := range nodes {
		for ids := range slices.Chunk(acked, 500) {
			var commands []string
			for _, id := range ids {
				commands = append(commands, api.CommandID(id, "a1"))
			}
			resp, err := p.Call(t.Context(), node, consensustest.Request{Commands: commands})
			require.NoError(t, err)
			for i, c := range resp.Commands {
				require.Equal(t, commands[i], c.ID, "node %d lost an acknowledged write", node)
			}
		}
	}
}
