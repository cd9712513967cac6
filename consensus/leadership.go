package consensus

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leadership tells whether this node leads, and when that changes.
type leadership struct {
	mu      sync.Mutex
	leading bool
	changed chan struct{} // closed and replaced at each change
}

func newLeadership() *leadership { return &leadership{changed: make(chan struct{})} }

// watch follows Raft's notifications until done.
func (l *leadership) watch(notify <-chan bool, done <-chan struct{}) {
	for {
		select {
		case leading := <-notify:
			l.set(leading)
		case <-done:
			l.set(false)
			return
		}
	}
}

func (l *leadership) set(leading bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leading = leading
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leadership) get() (leading bool, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leading, l.changed
}

// IsLeader reports whether this node believes that it leads.
func (c *Cluster) IsLeader() bool { return c.raft.State() == raft.Leader }

// RunOnLeader runs fn whenever this node begins to lead and has applied
// everything that was committed before; the context of fn ends when it no
// longer leads. It blocks until ctx ends, then returns nil, or until the
// cluster is closed, then returns ErrClosed. An error of fn while the node
// leads ends it too; when fn returns nil it is run again with the next term of
// leadership.
func (c *Cluster) RunOnLeader(ctx context.Context, fn func(ctx context.Context) error) error {
	for {
		leading, changed := c.leadership.get()
		if leading {
			if err := c.lead(ctx, changed, fn); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		case <-c.done:
			return ErrClosed
		}
	}
}

// lead runs fn until leadership changes.
func (c *Cluster) lead(ctx context.Context, changed <-chan struct{}, fn func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-changed:
		case <-c.done:
		case <-ctx.Done():
		}
		cancel()
	}()
	if !c.barrier(ctx) {
		return nil
	}
	err := fn(ctx)
	if ctx.Err() != nil {
		return nil // the error is that of the context
	}
	return err
}

// barrier waits until everything committed so far is applied here. It returns
// false when ctx ends first, as it does when leadership is lost.
func (c *Cluster) barrier(ctx context.Context) bool {
	for ctx.Err() == nil {
		if c.await(ctx, c.raft.Barrier(c.cfg.Timeout)) == nil {
			return true
		}
		pause(ctx, retryPause)
	}
	return false
}

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// TransferLeadership makes another voter the leader, "" for the one that is
// most up to date. Only the leader can do it.
func (c *Cluster) TransferLeadership(ctx context.Context, id string) error {
	var f raft.Future
	if id == "" {
		f = c.raft.LeadershipTransfer()
	} else {
		f = c.raft.LeadershipTransferToServer(raft.ServerID(id), raft.ServerAddress(id))
	}
	return c.member(ctx, "transfer leadership to", id, f)
}
