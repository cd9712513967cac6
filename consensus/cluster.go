package consensus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"redflag/consensus/state"
	"redflag/telemetry"
)

// Cluster is one node's part in the Raft cluster. All methods are safe for
// concurrent use.
type Cluster struct {
	cfg        Config
	storage    *storage
	fsm        *fsm
	raft       *raft.Raft
	transport  transport
	leadership *leadership
	batcher    *batcher

	suspicion chan struct{} // a peer has closed a connection
	moved     atomic.Int64  // unix nanoseconds at which this node last gave the leadership away for a region

	opened   chan struct{}   // closed once raft is set
	ctx      context.Context // ends when Close begins
	cancel   context.CancelFunc
	running  context.Context // ends with done
	workers  sync.WaitGroup
	stopRaft func() error  // shuts Raft down, once
	done     chan struct{} // closed when Raft has shut down
	broken   chan error    // from the state machine
	failed   chan error    // to the owner
}

// Open opens the node's state and starts Raft. A new node does nothing until
// Bootstrap, or until the leader's Join brings it in.
func Open(cfg Config) (*Cluster, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	s, err := openStorage(cfg)
	if err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg: cfg, storage: s, leadership: newLeadership(), suspicion: make(chan struct{}, 1),
		opened: make(chan struct{}), done: make(chan struct{}), broken: make(chan error, 1), failed: make(chan error, 1),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	var stopped context.CancelFunc
	c.running, stopped = context.WithCancel(context.Background())
	c.batcher = newBatcher(c.sendBatch)
	c.fsm = newFSM(s.machine, func(err error) { c.broken <- err })
	c.fsm.applied = cfg.Applied
	if cfg.Ended != nil {
		c.fsm.ended = c.endedHere
	}
	notify := make(chan bool, 1)
	c.transport = newTransport(c)
	c.raft, err = raft.NewRaft(cfg.raft(notify), c.fsm, s.log, s.log, s.snapshots, c.transport)
	if err != nil {
		c.cancel()
		stopped()
		return nil, errors.Join(fmt.Errorf("start raft: %w", err), c.transport.Close(), s.close())
	}
	close(c.opened)
	c.stopRaft = sync.OnceValue(func() error {
		defer stopped()
		defer close(c.done)
		return c.raft.Shutdown().Error() // closes the transport too
	})
	c.workers.Go(func() { c.leadership.watch(notify, c.done) })
	c.workers.Go(c.watchFailure)
	c.workers.Go(c.tick)
	c.workers.Go(c.announce)
	c.workers.Go(c.watchLeader)
	c.workers.Go(func() { c.batcher.run(c.running) })
	return c, nil
}

// watchFailure makes a failure of the state machine visible and takes the node
// out of the cluster, for its state no longer follows the log.
func (c *Cluster) watchFailure() {
	select {
	case err := <-c.broken:
		c.cfg.Logger.Error("state machine failed", telemetry.KeyNode, c.cfg.NodeID, telemetry.KeyError, err)
		c.failed <- err
		_ = c.stopRaft() // Close returns its error
	case <-c.done:
	}
}

// Failed yields the error that made this node stop. It must then be closed;
// what to do is in the error: a newer version, or another disk.
func (c *Cluster) Failed() <-chan error { return c.failed }

// State returns the replicated state, to be read.
func (c *Cluster) State() *state.Machine { return c.storage.machine }

// Close leaves in good order: it hands leadership over, so that the others need
// no election; stops Raft, so that nothing is applied any more; then flushes
// and closes the state, and last the log, from which an unflushed state comes
// back. When ctx ends it stops being polite: with a context that has ended
// Close does what a crash would do.
func (c *Cluster) Close(ctx context.Context) error {
	c.cancel()
	c.handOver(ctx)
	err := c.stopRaft()
	c.workers.Wait()
	if ctx.Err() == nil && c.fsm.failure() == nil {
		err = errors.Join(err, c.storage.machine.Flush())
	}
	if err = errors.Join(err, c.storage.close()); err != nil {
		return fmt.Errorf("close consensus: %w", err)
	}
	return nil
}

// handOver makes another voter the leader. Without it the others would find
// out by a timeout, so a failure is only worth a line.
func (c *Cluster) handOver(ctx context.Context) {
	if ctx.Err() != nil || !c.IsLeader() || len(c.Status().Voters) < 2 {
		return
	}
	if err := c.await(ctx, c.raft.LeadershipTransfer()); err != nil {
		c.cfg.Logger.Warn("leadership not handed over", telemetry.KeyNode, c.cfg.NodeID, telemetry.KeyError, err)
	}
}

// await waits for a future of Raft, which knows no context and is never
// answered if Raft shuts down at the wrong moment.
func (c *Cluster) await(ctx context.Context, f raft.Future) error {
	answer := make(chan error, 1)
	go func() { answer <- f.Error() }()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return ErrClosed
	}
}
