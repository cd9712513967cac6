package consensus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"

	"redflag/consensus/state"
)

const (
	keptSnapshots = 2
	segmentSize   = 16 << 20 // of the log, in bytes; allocated ahead
)

// logStore is the log and the votes of a node, behind Raft's own interfaces so
// that the engine can be changed.
type logStore interface {
	raft.LogStore
	raft.StableStore
	Close() error
}

// storage is everything that a node keeps on disk.
type storage struct {
	log       logStore
	snapshots raft.SnapshotStore
	machine   *state.Machine
}

func openStorage(cfg Config) (_ *storage, err error) {
	s := &storage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.machine, err = state.OpenFS(cfg.stateFS, filepath.Join(cfg.Dir, "state")); err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.Dir, "log")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	log, err := raftwal.Open(dir, raftwal.WithSegmentSize(segmentSize), raftwal.WithLogger(cfg.Logger.Named("log")))
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	s.log = log
	s.snapshots, err = raft.NewFileSnapshotStoreWithLogger(cfg.Dir, keptSnapshots, cfg.Logger.Named("snapshot"))
	if err != nil {
		return nil, fmt.Errorf("open snapshots: %w", err)
	}
	if err := syncDirs(cfg.Dir, filepath.Dir(cfg.Dir)); err != nil {
		return nil, err
	}
	return s, s.catchUp()
}

// syncDirs makes the folders that were just created survive a loss of power.
func syncDirs(dirs ...string) error {
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			return fmt.Errorf("sync folder: %w", err)
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync folder: %w", err)
		}
	}
	return nil
}

// catchUp restores the newest snapshot if the state is older. The log before a
// snapshot is gone, and Raft is told not to restore by itself.
func (s *storage) catchUp() error {
	list, err := s.snapshots.List()
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	// The snapshot's index also counts entries that the state never sees, so
	// an equal state can look older: the stream itself knows.
	if len(list) == 0 || s.machine.Applied() >= list[0].Index {
		return nil
	}
	newer, err := s.isNewer(list[0].ID)
	if err != nil || !newer {
		return err
	}
	_, stream, err := s.snapshots.Open(list[0].ID)
	if err != nil {
		return fmt.Errorf("open snapshot: %w", err)
	}
	return errors.Join(s.machine.Restore(stream), stream.Close())
}

func (s *storage) isNewer(id string) (bool, error) {
	_, stream, err := s.snapshots.Open(id)
	if err != nil {
		return false, fmt.Errorf("open snapshot: %w", err)
	}
	index, err := state.SnapshotIndex(stream)
	return index > s.machine.Applied(), errors.Join(err, stream.Close())
}

func (s *storage) close() error {
	var errs []error
	if s.machine != nil {
		errs = append(errs, s.machine.Close())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(errs...)
}
