package consensus_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
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
	"redflag/consensus"
	"redflag/consensus/consensustest"
	"redflag/consensus/state"
)

const (
	benchTime     = 5 * time.Second // of each throughput figure
	benchInFlight = 4               // batches, here and there
	benchFleet    = 100_000
)

// BenchmarkConsensus prints one table: what raw Raft does on this machine and
// disk, what the queue does on the same, and what a rollout to 100,000 agents
// costs. All nodes share this machine's cores.
func BenchmarkConsensus(b *testing.B) {
	for range b.N {
		table := &benchTable{b: b}
		plain := rawThroughput(b, func(string) raft.FSM { return idleFSM{} })
		table.row("raw Raft, 3 nodes, batches of 256, idle state machine", "%.0f entries/s = %.0f reports/s", plain, plain*state.MaxBatchRecords)
		same := rawThroughput(b, func(dir string) raft.FSM { return openBenchFSM(b, dir) })
		table.row("raw Raft, 3 nodes, same batches, our state machine", "%.0f entries/s = %.0f reports/s", same, same*state.MaxBatchRecords)
		ours, waits := ourThroughput(b)
		table.row("queue, 3 nodes, 1,024 callers, each report answered", "%.0f reports/s", ours)
		table.row("  ratio to raw Raft fed the same batches", "%.2f (idle state machine: %.2f)", ours/(same*state.MaxBatchRecords), ours/(plain*state.MaxBatchRecords))
		table.row("  time to an answer", "p50 %s, p99 %s", waits[len(waits)/2].Round(10*time.Microsecond), waits[len(waits)*99/100].Round(10*time.Microsecond))
		fleetCosts(b, table)
		table.print()
	}
}

type benchTable struct {
	b    *testing.B
	rows [][2]string
}

func (t *benchTable) row(what, format string, args ...any) {
	t.rows = append(t.rows, [2]string{what, fmt.Sprintf(format, args...)})
}

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

// rawThroughput returns the entries per second of hashicorp/raft with the same
// log store and real syncs, fed full batches of reports.
func rawThroughput(b *testing.B, newFSM func(dir string) raft.FSM) float64 {
	b.Helper()
	var nodes []*raft.Raft
	var servers []raft.Server
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
		b.Cleanup(func() {
			_ = node.Shutdown().Error()
			_ = transport.Close()
			_ = log.Close()
		})
	}
	require.NoError(b, nodes[0].BootstrapCluster(raft.Configuration{Servers: servers}).Error())
	var leader *raft.Raft
	require.Eventually(b, func() bool {
		i := slices.IndexFunc(nodes, func(n *raft.Raft) bool { return n.State() == raft.Leader })
		if i >= 0 {
			leader = nodes[i]
		}
		return i >= 0
	}, 20*time.Second, 10*time.Millisecond)
	apply := func(typ state.EntryType, body any) {
		entry, err := state.EncodeEntry(typ, time.Now(), body)
		if err == nil {
			err = leader.Apply(entry, time.Minute).Error()
		}
		if err != nil {
			panic(err)
		}
	}
	benchSetUp(apply)
	var entries atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for worker := range benchInFlight {
		wg.Go(func() {
			for rollout := range benchRollouts {
				for step := range benchSteps {
					if time.Since(began) > benchTime {
						return
					}
					var batch state.Batch
					for i := range state.MaxBatchRecords {
						typ, body := benchStep(rollout, worker*state.MaxBatchRecords+i, step)
						record, err := state.EncodeRecord(typ, body)
						if err != nil {
							panic(err)
						}
						batch.Records = append(batch.Records, record)
					}
					apply(state.TypeBatch, batch)
					entries.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(entries.Load()) / time.Since(began).Seconds()
}

// The work: agents that install one rollout after the other, in three steps.
const (
	benchAgents   = benchInFlight * state.MaxBatchRecords
	benchRollouts = 200
	benchSteps    = 3
)

func benchAgent(i int) string { return fmt.Sprintf("agent-%06d", i) }

func benchStep(rollout, agent, step int) (state.EntryType, any) {
	id := benchAgent(agent)
	command := api.CommandID(fmt.Sprintf("r%d", rollout), id)
	if step == 0 {
		return state.TypeLease, state.Lease{AgentID: id, CommandIDs: []string{command}, NodeID: "n0", Duration: time.Hour}
	}
	said := api.StateRunning
	if step == 2 {
		said = api.StateSucceeded
	}
	return state.TypeReports, state.Reports{Agents: []state.AgentReports{{AgentID: id, Reports: []api.Report{
		{ID: fmt.Sprintf("%d-%d", rollout, step), CommandID: command, State: said, At: time.Now(), Transfer: &api.Transfer{FromPeers: 1 << 20, Total: 1 << 20, Done: 1 << 20}},
	}}}}
}

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
// have answered, and how long each waited, in order.
func ourThroughput(b *testing.B) (float64, []time.Duration) {
	b.Helper()
	c := benchCluster(b)
	benchSetUp(mustCommit(c.Node(c.Leader())))
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
	return float64(len(waits)) / took.Seconds(), waits
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
	gate := func(*api.Command, *api.Plan) string { return "" } // nothing keeps it back
	inParallel(func(i int) {
		node := c.Node(i % 3)
		for due, _ := node.State().Due(benchAgent(i), nil, time.Now(), gate, 8); len(due) == 0; due, _ = node.State().Due(benchAgent(i), nil, time.Now(), gate, 8) { // a follower that is a moment behind
			time.Sleep(time.Millisecond)
		}
		mustCommit(node)(benchStep(0, i, 0))
	})
	table.row("all 100,000 polls answered, each lease committed", "%s", time.Since(began).Round(time.Millisecond))
	c.WaitConverged()
	slowest := time.Duration(0)
	for i := range 3 {
		slowest = max(slowest, c.Node(i).Status().SlowestApply)
	}
	table.row("longest apply stall on any node", "%s", slowest.Round(10*time.Microsecond))

	var stream bytes.Buffer
	began = time.Now()
	s, err := leader.State().Snapshot()
	require.NoError(b, err)
	require.NoError(b, s.Write(&stream))
	require.NoError(b, s.Close())
	table.row("snapshot written", "%s, %.1f MB", time.Since(began).Round(time.Millisecond), float64(stream.Len())/1e6)
	table.row("state per agent, with one execution each", "%d bytes in the snapshot, %d bytes of heap in each node",
		stream.Len()/benchFleet, heapInUse()/3/benchFleet)

	other, err := state.Open(filepath.Join(b.TempDir(), "restored"))
	require.NoError(b, err)
	began = time.Now()
	require.NoError(b, other.Restore(&stream))
	table.row("snapshot restored", "%s", time.Since(began).Round(time.Millisecond))
	require.NoError(b, other.Close())
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
