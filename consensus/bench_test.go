package consensus_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/bench/row"
	"redflag/consensus"
	"redflag/consensus/consensustest"
	"redflag/consensus/state"
)

const (
	benchTime     = 5 * time.Second // of each throughput figure
	benchInFlight = 4               // batches, here and there
	benchFleet    = 100_000
)

// BenchmarkConsensus prints one table: what the queue does on this machine and
// disk, what raw Raft does on the same, and what a rollout to 100,000 agents
// costs. All nodes share this machine's cores. The ratio is to raw Raft with the
// same store and state machine, fed the very entries that the queue made, in
// order and as many at a time, right after the queue made them; the middle one of
// three such pairs counts.
func BenchmarkConsensus(b *testing.B) {
	// What the collector costs depends on what this program happens to hold.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1 << 30))
	for range b.N {
		table := &benchTable{b: b}
		idle := rawReplay(b, fullBatches(), func(string) raft.FSM { return idleFSM{} })
		table.row("raw Raft, 3 nodes, 256 per entry, idle state machine", "%.0f entries/s = %.0f reports/s", idle.entries, idle.records)
		full := rawReplay(b, fullBatches(), func(dir string) raft.FSM { return openBenchFSM(b, dir) })
		table.row("raw Raft, 3 nodes, 256 per entry, our state machine", "%.0f entries/s = %.0f reports/s", full.entries, full.records)
		var pairs []benchPair
		for range benchPairs {
			pairs = append(pairs, newBenchPair(b))
		}
		slices.SortFunc(pairs, func(x, y benchPair) int { return cmp.Compare(x.ratio(), y.ratio()) })
		p := pairs[len(pairs)/2]
		table.leave("raw Raft", p.raw.records, "reports/s", "")
		table.leave("the queue, each report answered", p.queue, "reports/s", "")
		table.leave("ratio to raw Raft fed the same batches", p.ratio(), "", "≥ 0.8")
		table.leave("time to an answer, p99", milliseconds(p.waits[len(p.waits)*99/100]), "ms", "")
		table.row("raw Raft, 3 nodes, the queue's entries, our state machine", "%.0f entries/s = %.0f reports/s", p.raw.entries, p.raw.records)
		table.row("queue, 3 nodes, 2,048 callers, each report answered", "%.0f reports/s, %.0f per entry", p.queue, p.raw.records/p.raw.entries)
		table.row("  ratio to raw Raft fed the same batches", "%.2f (of %.2f, %.2f, %.2f)", p.ratio(), pairs[0].ratio(), p.ratio(), pairs[2].ratio())
		table.row("  time to an answer", "p50 %s, p99 %s", p.waits[len(p.waits)/2].Round(10*time.Microsecond), p.waits[len(p.waits)*99/100].Round(10*time.Microsecond))
		fleetCosts(b, table)
		table.print()
	}
}

// benchPairs is how often the queue and raw Raft are compared.
const benchPairs = 3

// benchPair is the queue, and raw Raft fed what the queue made.
type benchPair struct {
	queue float64 // records per second
	waits []time.Duration
	raw   counted
}

func newBenchPair(b *testing.B) (p benchPair) {
	b.Helper()
	var log [][]byte
	p.queue, p.waits, log = ourThroughput(b)
	p.raw = rawReplay(b, log, func(dir string) raft.FSM { return openBenchFSM(b, dir) })
	return p
}

func (p benchPair) ratio() float64 { return p.queue / p.raw.records }

type benchTable struct {
	b    *testing.B
	rows [][2]string
}

func (t *benchTable) row(what, format string, args ...any) {
	t.rows = append(t.rows, [2]string{what, fmt.Sprintf(format, args...)})
}

// leave leaves a figure for make bench.
func (t *benchTable) leave(name string, value float64, unit, goal string) {
	t.b.Helper()
	require.NoError(t.b, row.Add(name, value, unit, goal))
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (t *benchTable) print() {
	fmt.Println()
	for _, r := range t.rows {
		fmt.Printf("%-56s %s\n", r[0], r[1])
	}
}

// idleFSM applies nothing.
type idleFSM struct{}

func (idleFSM) Apply(*raft.Log) any                 { return nil }
func (idleFSM) ApplyBatch(logs []*raft.Log) []any   { return make([]any, len(logs)) }
func (idleFSM) Snapshot() (raft.FSMSnapshot, error) { return nil, raft.ErrNothingNewToSnapshot }
func (idleFSM) Restore(io.ReadCloser) error         { return nil }

// benchFSM is the state machine without the queue around it.
type benchFSM struct {
	idleFSM
	machine *state.Machine
}

func openBenchFSM(b *testing.B, dir string) raft.FSM {
	b.Helper()
	m, err := state.Open(filepath.Join(dir, "state"))
	require.NoError(b, err)
	b.Cleanup(func() { _ = m.Close() })
	return benchFSM{machine: m}
}

func (f benchFSM) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	for i, log := range logs {
		if log.Type == raft.LogCommand {
			results, err := f.machine.Apply(state.Entry{Index: log.Index, Data: log.Data})
			if err != nil {
				panic(err)
			}
			out[i] = results[0]
		}
	}
	return out
}

// counted is how many batches, and records in them, or how many a second.
type counted struct{ entries, records float64 }

// benchBatches counts the batches of a log.
func benchBatches(log [][]byte) (n struct{ entries, records int }) {
	for _, entry := range log {
		if records, err := state.DecodeBatch(entry); err == nil {
			n.entries++
			n.records += len(records)
		}
	}
	return n
}

// rawReplay feeds entries to hashicorp/raft on the same log store, with real
// syncs, and returns what it commits per second once the batches begin.
func rawReplay(b *testing.B, log [][]byte, newFSM func(dir string) raft.FSM) counted {
	b.Helper()
	leader, stop := rawRaft(b, newFSM)
	defer stop()
	slots := make(chan struct{}, benchInFlight)
	var wg sync.WaitGroup
	apply := func(entry []byte) {
		slots <- struct{}{}
		f := leader.Apply(entry, time.Minute) // in order: it is queued when this returns
		wg.Go(func() {
			if err := f.Error(); err != nil {
				panic(err)
			}
			<-slots
		})
	}
	first := slices.IndexFunc(log, func(e []byte) bool { return state.TypeOfEntry(e) == state.TypeBatch })
	for _, entry := range log[:first] {
		apply(entry)
	}
	wg.Wait()
	done := 0
	began := time.Now()
	for _, entry := range log[first:] {
		if time.Since(began) > benchTime {
			break
		}
		apply(entry)
		done++
	}
	wg.Wait()
	took := time.Since(began).Seconds()
	n := benchBatches(log[first : first+done])
	return counted{float64(n.entries) / took, float64(n.records) / took}
}

// rawRaft starts three nodes of raw hashicorp/raft.
func rawRaft(b *testing.B, newFSM func(dir string) raft.FSM) (leader *raft.Raft, stop func()) {
	b.Helper()
	var nodes []*raft.Raft
	var servers []raft.Server
	var ends []func()
	for i := range 3 {
		dir := b.TempDir()
		transport, err := raft.NewTCPTransportWithLogger("127.0.0.1:0", nil, 3, time.Second, hclog.NewNullLogger())
		require.NoError(b, err)
		log, err := raftwal.Open(dir, raftwal.WithSegmentSize(16<<20), raftwal.WithLogger(hclog.NewNullLogger()))
		require.NoError(b, err)
		cfg := raft.DefaultConfig()
		cfg.LocalID, cfg.Logger = raft.ServerID(fmt.Sprintf("n%d", i)), hclog.NewNullLogger()
		cfg.SnapshotThreshold = 1 << 40
		cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = benchTimeout, benchTimeout, benchTimeout
		node, err := raft.NewRaft(cfg, newFSM(dir), log, log, raft.NewInmemSnapshotStore(), transport)
		require.NoError(b, err)
		nodes = append(nodes, node)
		servers = append(servers, raft.Server{ID: cfg.LocalID, Address: transport.LocalAddr()})
		ends = append(ends, func() {
			_ = node.Shutdown().Error()
			_ = transport.Close()
			_ = log.Close()
		})
	}
	require.NoError(b, nodes[0].BootstrapCluster(raft.Configuration{Servers: servers}).Error())
	require.Eventually(b, func() bool {
		i := slices.IndexFunc(nodes, func(n *raft.Raft) bool { return n.State() == raft.Leader })
		if i >= 0 {
			leader = nodes[i]
		}
		return i >= 0
	}, 20*time.Second, 10*time.Millisecond)
	return leader, func() {
		for _, end := range ends {
			end()
		}
	}
}

// fullBatches is the same work in entries that are as large as they may be.
func fullBatches() [][]byte {
	var log [][]byte
	add := func(typ state.EntryType, body any) {
		entry, err := state.EncodeEntry(typ, time.Now(), body)
		if err != nil {
			panic(err)
		}
		log = append(log, entry)
	}
	benchSetUp(add)
	for rollout := range benchRollouts {
		for step := range benchSteps {
			for part := range benchAgents / state.MaxBatchRecords {
				var batch state.Batch
				for i := range state.MaxBatchRecords {
					record, err := state.EncodeRecord(benchStep(rollout, part*state.MaxBatchRecords+i, step))
					if err != nil {
						panic(err)
					}
					batch.Records = append(batch.Records, record)
				}
				add(state.TypeBatch, batch)
			}
		}
	}
	return log
}

// logOf returns the changes in the log of a node that does not run.
func logOf(b *testing.B, dir string) [][]byte {
	b.Helper()
	log, err := raftwal.Open(filepath.Join(dir, "log"), raftwal.WithSegmentSize(16<<20), raftwal.WithLogger(hclog.NewNullLogger()))
	require.NoError(b, err)
	defer log.Close()
	last, err := log.LastIndex()
	require.NoError(b, err)
	var out [][]byte
	for i := uint64(1); i <= last; i++ {
		var entry raft.Log
		require.NoError(b, log.GetLog(i, &entry))
		if entry.Type == raft.LogCommand {
			out = append(out, entry.Data)
		}
	}
	return out
}

// The work: agents that install one rollout after the other, in three steps.
const (
	benchAgents   = 2 * benchInFlight * state.MaxBatchRecords
	benchRollouts = 200
	benchSteps    = 3
)

func benchAgent(i int) string { return benchAgentIDs[i] }

// The callers' own work is kept small: what is measured is the queue.
var benchAgentIDs, benchRolloutIDs = numbered(benchFleet, "agent-%06d"), numbered(benchRollouts, "r%d")

func numbered(n int, format string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}

// benchReport names the report of each step: it need not be unique beyond its
// command.
var (
	benchReports  = [benchSteps]string{1: "began", 2: "ended"}
	benchStates   = [benchSteps]api.State{1: api.StateRunning, 2: api.StateSucceeded}
	benchTransfer = api.Transfer{FromPeers: 1 << 20, Total: 1 << 20, Done: 1 << 20}
)

func benchStep(rollout, agent, step int) (state.EntryType, any) {
	id := benchAgentIDs[agent]
	command := api.CommandID(benchRolloutIDs[rollout], id)
	if step == 0 {
		return state.TypeLease, &state.Lease{AgentID: id, CommandIDs: []string{command}, NodeID: "n0", Duration: time.Hour}
	}
	return state.TypeReports, &state.Reports{Agents: []state.AgentReports{{AgentID: id, Reports: []api.Report{
		{ID: benchReports[step], CommandID: command, State: benchStates[step], At: benchBegan, Transfer: &benchTransfer},
	}}}}
}

var benchBegan = time.Now()

func benchSetUp(apply func(state.EntryType, any)) {
	benchPublish(apply, benchAgents)
	for i := range benchAgents {
		apply(state.TypeEnrolAgent, benchEnrol(i))
	}
	for i := range benchRollouts {
		apply(state.TypeCreateRollout, benchRollout(i))
	}
}

func benchPublish(apply func(state.EntryType, any), seats int) {
	meta := func(name string) state.Metadata { return state.Metadata{Version: 1, Bytes: []byte(name)} }
	apply(state.TypeCreateToken, state.CreateToken{
		Token: api.Token{ID: "t1", Kind: api.TokenAgent, Seats: seats}, SecretHash: make([]byte, 32), TTL: 24 * time.Hour,
	})
	apply(state.TypePublishArtifact, state.PublishArtifact{
		Artifact: api.Artifact{Name: "app", Version: "1.0.0", Length: 1, SHA256: fmt.Sprintf("%064x", 1), OriginNode: "n0"},
		Targets:  meta("targets"), Snapshot: meta("snapshot"), Timestamp: meta("timestamp"),
	})
}

func benchEnrol(i int) state.EnrolAgent {
	return state.EnrolAgent{
		Agent: api.Agent{
			ID: benchAgent(i), Region: fmt.Sprintf("region-%d", i%4), KeyID: fmt.Sprintf("%064x", i),
			Labels: map[string]string{"role": "kiosk", "site": fmt.Sprintf("site-%d", i%500)},
		},
		TokenID: "t1", TokenSecretHash: make([]byte, 32),
	}
}

func benchRollout(i int) state.CreateRollout {
	return state.CreateRollout{
		ID: fmt.Sprintf("r%d", i), Kind: api.KindInstall, Artifact: "app", Version: "1.0.0", Selector: api.Selector{All: true},
	}
}

// mustCommit proposes through a node until it is done.
func mustCommit(c *consensus.Cluster) func(state.EntryType, any) {
	return func(typ state.EntryType, body any) {
		for {
			result, err := c.Propose(context.Background(), typ, body)
			if err != nil {
				continue
			}
			if err := result.Err(); err != nil {
				panic(err)
			}
			return
		}
	}
}

// benchTimeout keeps a machine that is short of cores from electing.
const benchTimeout = 5 * time.Second

func benchCluster(b *testing.B) *consensustest.Cluster {
	b.Helper()
	return consensustest.NewCluster(b, 3, func(cfg *consensus.Config) { cfg.Timeout = benchTimeout })
}

// ourThroughput returns the records per second that callers of all three nodes
// have answered, how long each waited, in order, and the log that came about.
func ourThroughput(b *testing.B) (float64, []time.Duration, [][]byte) {
	b.Helper()
	c := benchCluster(b)
	leader := c.Leader()
	benchSetUp(mustCommit(c.Node(leader)))
	c.WaitConverged()
	var mu sync.Mutex
	var waits []time.Duration
	var wg sync.WaitGroup
	began := time.Now()
	for agent := range benchAgents {
		commit := mustCommit(c.Node(agent % 3))
		wg.Go(func() {
			var own []time.Duration
			for rollout := range benchRollouts {
				for step := range benchSteps {
					if time.Since(began) > benchTime {
						mu.Lock()
						defer mu.Unlock()
						waits = append(waits, own...)
						return
					}
					asked := time.Now()
					commit(benchStep(rollout, agent, step))
					own = append(own, time.Since(asked))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			waits = append(waits, own...)
		})
	}
	wg.Wait()
	took := time.Since(began)
	slices.Sort(waits)
	for i := range 3 {
		c.Stop(i)
	}
	return float64(len(waits)) / took.Seconds(), waits, logOf(b, c.Dir(leader))
}

// fleetCosts enrols 100,000 agents, rolls out to all of them, and answers the
// poll of every one.
func fleetCosts(b *testing.B, table *benchTable) {
	b.Helper()
	c := benchCluster(b)
	leader := c.Node(c.Leader())
	commit := mustCommit(leader)
	benchPublish(commit, benchFleet)
	inParallel(func(i int) { commit(state.TypeEnrolAgent, benchEnrol(i)) })
	c.WaitConverged()

	began := time.Now()
	commit(state.TypeCreateRollout, benchRollout(0))
	table.row("rollout to 100,000 agents committed", "%s", time.Since(began).Round(time.Millisecond))
	began = time.Now()
	gate := func(*api.Command, *api.Plan, int64) string { return "" } // nothing keeps it back
	inParallel(func(i int) {
		node := c.Node(i % 3)
		for due, _ := node.State().Due(benchAgent(i), nil, time.Now(), gate, 8); len(due) == 0; due, _ = node.State().Due(benchAgent(i), nil, time.Now(), gate, 8) { // a follower that is a moment behind
			time.Sleep(time.Millisecond)
		}
		mustCommit(node)(benchStep(0, i, 0))
	})
	answered := time.Since(began)
	table.row("all 100,000 polls answered, each lease committed", "%s", answered.Round(time.Millisecond))
	table.leave("100,000 polls answered, each lease committed", answered.Seconds(), "s", "")
	steerFleet(b, leader)
	c.WaitConverged()
	slowest := time.Duration(0)
	for i := range 3 {
		slowest = max(slowest, c.Node(i).Status().SlowestApply)
	}
	table.row("longest apply stall on any node, waves and aborts included", "%s", slowest.Round(10*time.Microsecond))
	table.leave("longest apply stall", milliseconds(slowest), "ms", "≤ 100")

	var stream bytes.Buffer
	began = time.Now()
	s, err := leader.State().Snapshot()
	require.NoError(b, err)
	require.NoError(b, s.Write(&stream))
	require.NoError(b, s.Close())
	table.row("snapshot written", "%s, %.1f MB", time.Since(began).Round(time.Millisecond), float64(stream.Len())/1e6)
	table.row("state per agent, with one execution each", "%d bytes in the snapshot, %d bytes of heap in each node",
		stream.Len()/benchFleet, heapInUse()/3/benchFleet)
	table.leave("state per agent, in the snapshot", float64(stream.Len())/benchFleet, "bytes", "≤ 1,500")

	other, err := state.Open(filepath.Join(b.TempDir(), "restored"))
	require.NoError(b, err)
	began = time.Now()
	require.NoError(b, other.Restore(&stream))
	restored := time.Since(began)
	table.row("snapshot restored", "%s", restored.Round(time.Millisecond))
	table.leave("snapshot restored", milliseconds(restored), "ms", "")
	require.NoError(b, other.Close())
}

// steerFleet does to 100,000 agents what is one entry and touches all of them:
// waves that open, a rollout that is paused, goes on, and is aborted, and one
// that expires.
func steerFleet(b *testing.B, leader *consensus.Cluster) {
	b.Helper()
	commit := mustCommit(leader)
	gate := func(*api.Command, *api.Plan, int64) string { return "" }
	waved := benchRollout(1)
	waved.Plan = &api.Plan{Waves: []api.Wave{{Agents: 1}, {Percent: 50}}, RegionOrder: []string{"region-3", "region-1"}}
	commit(state.TypeCreateRollout, waved)
	first := -1
	for i := range benchFleet {
		if due, _ := leader.State().Due(benchAgent(i), []string{api.CommandID("r0", benchAgent(i))}, time.Now(), gate, 8); len(due) > 0 {
			first = i
			break
		}
	}
	require.GreaterOrEqual(b, first, 0, "nobody is in the first wave")
	for step := range benchSteps {
		commit(benchStep(1, first, step))
	}
	r, _ := leader.State().Rollout("r1")
	require.Equal(b, benchFleet/2, r.Released, "the second wave is open")
	for _, action := range []api.RolloutAction{api.RolloutPause, api.RolloutResume} {
		commit(state.TypeChangeRollout, state.ChangeRollout{ID: "r1", Action: action})
	}
	commit(state.TypeCancelRollout, state.CancelRollout{ID: "r1"})
	brief := benchRollout(2)
	brief.Plan = &api.Plan{Expiry: api.Duration(time.Second)}
	commit(state.TypeCreateRollout, brief)
	require.Eventually(b, func() bool {
		r, _ := leader.State().Rollout("r2")
		return r.State.Ended()
	}, time.Minute, 50*time.Millisecond, "the leader's tick ends it")
}

func inParallel(do func(i int)) {
	const callers = 1024
	var next atomic.Int64
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < benchFleet; i = next.Add(1) - 1 {
				do(int(i))
			}
		})
	}
	wg.Wait()
}

func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}
