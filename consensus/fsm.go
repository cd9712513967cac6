package consensus

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"redflag/consensus/state"
)

// fsm is the state machine as Raft drives it. Raft calls everything but
// Persist from one goroutine.
type fsm struct {
	machine *state.Machine
	fail    func(error) // called once, when the machine cannot go on
	applied func(index uint64, what, correlation string)
	ended   func([]state.Outcome)

	mu       sync.Mutex
	stopped  error         // set by the first failure; nothing is applied after it
	changed  chan struct{} // closed and replaced whenever the applied index moves
	lastTick time.Time     // when a Tick was last applied here, monotonic
	slowest  time.Duration // that one entry took
}

var _ raft.BatchingFSM = (*fsm)(nil)

func newFSM(m *state.Machine, fail func(error)) *fsm {
	return &fsm{machine: m, fail: fail, changed: make(chan struct{})}
}

// Apply implements raft.FSM.
func (f *fsm) Apply(log *raft.Log) any { return f.ApplyBatch([]*raft.Log{log})[0] }

// ApplyBatch implements raft.BatchingFSM. A response is a state.Result, an
// error, or nil for entries that are Raft's own.
func (f *fsm) ApplyBatch(logs []*raft.Log) []any {
	responses := make([]any, len(logs))
	var entries []state.Entry
	var slots []int // where the response of each entry goes
	ticked := false
	for i, log := range logs {
		if log.Type != raft.LogCommand {
			continue
		}
		entries = append(entries, state.Entry{Index: log.Index, Data: log.Data})
		slots = append(slots, i)
		ticked = ticked || (log.Index > f.machine.Applied() && state.TypeOfEntry(log.Data) == state.TypeTick)
	}
	before := f.machine.Applied()
	results, err := f.apply(entries)
	for n, slot := range slots {
		if n < len(results) {
			responses[slot] = results[n]
		} else {
			responses[slot] = err
		}
	}
	f.tell(before, entries[:len(results)])
	f.announce(ticked && err == nil)
	return responses
}

// tell passes on which requests have become part of the state.
func (f *fsm) tell(before uint64, entries []state.Entry) {
	if f.applied == nil {
		return
	}
	for _, e := range entries {
		if what, id := state.RequestOf(e.Data); id != "" && e.Index > before {
			f.applied(e.Index, what, id)
		}
	}
}

func (f *fsm) apply(entries []state.Entry) ([]state.Result, error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	results := make([]state.Result, 0, len(entries))
	for _, e := range entries {
		began := time.Now()
		result, err := f.machine.Apply(e)
		if err != nil {
			f.stop(err)
			return results, err
		}
		results = append(results, result...)
		if len(result[0].Outcomes) > 0 && f.ended != nil {
			f.ended(result[0].Outcomes)
		}
		f.took(time.Since(began))
	}
	return results, nil
}

// took remembers the slowest entry: for so long every reader had to wait.
func (f *fsm) took(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slowest = max(f.slowest, d)
}

func (f *fsm) slowestApply() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.slowest
}

// stop applies nothing more. The first reason stays.
func (f *fsm) stop(err error) {
	f.mu.Lock()
	first := f.stopped == nil
	if first {
		f.stopped = err
	}
	f.mu.Unlock()
	if first {
		f.fail(err)
	}
}

func (f *fsm) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.stopped
}

// announce wakes everyone who waits for an index.
func (f *fsm) announce(ticked bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ticked {
		f.lastTick = time.Now()
	}
	close(f.changed)
	f.changed = make(chan struct{})
}

// wait returns once the machine has applied index, or with ctx's error.
func (f *fsm) wait(ctx context.Context, index uint64) error {
	for {
		f.mu.Lock()
		changed := f.changed // before the look at the index, so that no change is missed
		f.mu.Unlock()
		if f.machine.Applied() >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fsm) tickedAt() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lastTick
}

// Snapshot implements raft.FSM. A machine that stopped must not give one: Raft
// would label it with an index that it has not reached.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if err := f.failure(); err != nil {
		return nil, err
	}
	s, err := f.machine.Snapshot()
	if err != nil {
		return nil, err
	}
	return &snapshot{machine: f.machine, state: s}, nil
}

// Restore implements raft.FSM.
func (f *fsm) Restore(r io.ReadCloser) error {
	if err := f.machine.Restore(r); err != nil {
		return err
	}
	f.announce(false)
	return nil
}

type snapshot struct {
	machine *state.Machine
	state   *state.Snapshot
}

// Persist implements raft.FSMSnapshot. Raft cuts the log when it returns, so
// what the snapshot holds must be durable in the store as well.
func (s *snapshot) Persist(sink raft.SnapshotSink) error {
	err := s.state.Write(sink)
	if err == nil {
		err = s.machine.Flush()
	}
	if err != nil {
		_ = sink.Cancel() // the first error says more
		return err
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("close snapshot: %w", err)
	}
	return nil
}

// Release implements raft.FSMSnapshot.
func (s *snapshot) Release() { _ = s.state.Close() }
