package consensus

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"

	"redflag/consensus/state"
)

// Recover makes a node that is stopped the only voter of its cluster, with
// everything that is in its own log. It is for a cluster that has lost its
// majority for good: what only the lost nodes had is lost, and entries that
// were never acknowledged may count now. The others must not come back with
// their old data.
func Recover(cfg Config) (err error) {
	return offline(cfg, func(cfg Config, s *storage, alone raft.Configuration) error {
		failed := make(chan error, 1)
		f := &releasing{fsm: newFSM(s.machine, func(err error) { failed <- err })}
		defer f.release()
		_, transport := raft.NewInmemTransport(raft.ServerAddress(cfg.Addr))
		defer func() { _ = transport.Close() }()
		if err := raft.RecoverCluster(cfg.raft(nil), f, s.log, s.log, s.snapshots, transport, alone); err != nil {
			return err
		}
		return f.failure()
	})
}

// releasing is an fsm that releases its snapshot, which RecoverCluster forgets.
type releasing struct {
	*fsm
	taken raft.FSMSnapshot
}

// Snapshot implements raft.FSM.
func (r *releasing) Snapshot() (s raft.FSMSnapshot, err error) {
	s, err = r.fsm.Snapshot()
	r.taken = s
	return s, err
}

func (r *releasing) release() {
	if r.taken != nil {
		r.taken.Release()
	}
}

// Change is a body of package state and its type.
type Change struct {
	Type state.EntryType
	Body any
}

// Restore fills the folder of a node that has no state yet with a snapshot
// stream, as the only voter of a cluster that begins a new epoch. The changes
// are made to the state before anybody sees it; one that is refused is an error.
func Restore(cfg Config, stream io.Reader, changes ...Change) error {
	for _, name := range []string{"state", "log", "snapshots"} {
		if _, err := os.Stat(filepath.Join(cfg.Dir, name)); err == nil {
			return fmt.Errorf("restore: %w", ErrBootstrapped)
		}
	}
	return offline(cfg, func(cfg Config, s *storage, alone raft.Configuration) error {
		if err := s.machine.Restore(stream); err != nil {
			return err
		}
		if err := amend(s.machine, cfg.Now(), changes); err != nil {
			return err
		}
		index, err := s.machine.BeginEpoch()
		if err != nil {
			return err
		}
		const term = 1
		if err := s.log.SetUint64([]byte("CurrentTerm"), term); err != nil {
			return fmt.Errorf("set term: %w", err)
		}
		_, transport := raft.NewInmemTransport(raft.ServerAddress(cfg.Addr))
		defer func() { _ = transport.Close() }()
		sink, err := s.snapshots.Create(raft.SnapshotVersionMax, index, term, alone, 1, transport)
		if err != nil {
			return fmt.Errorf("create snapshot: %w", err)
		}
		taken, err := s.machine.Snapshot()
		if err != nil {
			return errors.Join(err, sink.Cancel())
		}
		whole := &snapshot{machine: s.machine, state: taken}
		defer whole.Release()
		return whole.Persist(sink)
	})
}

// amend applies changes that are in no log: the epoch that follows is what keeps
// their indexes from being given out again.
func amend(m *state.Machine, now time.Time, changes []Change) error {
	for _, c := range changes {
		entry, err := state.EncodeEntry(c.Type, now, c.Body)
		if err != nil {
			return err
		}
		results, err := m.Apply(state.Entry{Index: m.Applied() + 1, Data: entry})
		if err != nil {
			return err
		}
		if err := results[0].Err(); err != nil {
			return fmt.Errorf("amend the restored state: %w", err)
		}
	}
	return nil
}

// offline opens the files of a node that does not run.
func offline(cfg Config, do func(cfg Config, s *storage, alone raft.Configuration) error) (err error) {
	if cfg.NodeID == "" || cfg.Addr == "" || cfg.Dir == "" {
		return errors.New("a node's id, address and folder are needed")
	}
	cfg = cfg.filled()
	s, err := openStorage(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return do(cfg, s, raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter, ID: raft.ServerID(cfg.NodeID), Address: raft.ServerAddress(cfg.Addr),
	}}})
}
