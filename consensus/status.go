package consensus

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"redflag/consensus/state"
)

// Server is a member of the cluster.
type Server struct {
	ID   string
	Addr string
}

// Status is how this node sees the cluster.
type Status struct {
	State        string // Follower, Candidate, Leader or Shutdown
	Term         uint64
	LeaderID     string        // empty when none is known
	LastIndex    uint64        // of the log
	CommitIndex  uint64        // of what is known to be committed
	AppliedIndex uint64        // of the state; entries that are Raft's own do not count
	LastContact  time.Time     // with the leader; zero before the first
	SlowestApply time.Duration // that one entry took since Open: so long every reader waited
	Voters       []Server
	NonVoters    []Server // that hold the state and do not vote, or not yet
}

// Servers returns all members, those that vote first.
func (s Status) Servers() []Server { return slices.Concat(s.Voters, s.NonVoters) }

// Status returns a picture of the moment.
func (c *Cluster) Status() Status {
	_, id := c.raft.LeaderWithID()
	s := Status{
		State:        c.raft.State().String(),
		Term:         c.raft.CurrentTerm(),
		LeaderID:     string(id),
		LastIndex:    c.raft.LastIndex(),
		CommitIndex:  c.raft.CommitIndex(),
		AppliedIndex: c.State().Applied(),
		LastContact:  c.raft.LastContact(),
		SlowestApply: c.fsm.slowestApply(),
	}
	f := c.raft.GetConfiguration()
	if f.Error() != nil {
		return s // it never fails in this version of the library
	}
	for _, m := range f.Configuration().Servers {
		server := Server{ID: string(m.ID), Addr: string(m.Address)}
		if m.Suffrage == raft.Voter {
			s.Voters = append(s.Voters, server)
		} else {
			s.NonVoters = append(s.NonVoters, server)
		}
	}
	return s
}

// QueueDepth returns how many changes of agents wait on this node for a place
// in the log.
func (c *Cluster) QueueDepth() int { return len(c.batcher.queue) }

// endedHere passes on what a change has ended, if this node leads.
func (c *Cluster) endedHere(outcomes []state.Outcome) {
	select {
	case <-c.opened: // what is replayed while Raft starts was counted before
	default:
		return
	}
	if c.IsLeader() {
		c.cfg.Ended(outcomes)
	}
}

// Stale returns how long ago this node applied a leader's Tick: the age of its
// state, within the 2 s between ticks. Before the first one since Open it is
// the longest duration there is.
func (c *Cluster) Stale() time.Duration {
	at := c.fsm.tickedAt()
	if at.IsZero() {
		return math.MaxInt64
	}
	return time.Since(at)
}

// Snapshot writes a snapshot now and lets the log be cut behind it. Raft does
// so by itself after enough entries.
func (c *Cluster) Snapshot() error {
	err := c.raft.Snapshot().Error()
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fmt.Errorf("take snapshot: %w", err)
	}
	return nil
}
