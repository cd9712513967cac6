package consensus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"redflag/api"
	"redflag/consensus/state"
)

const (
	// leaderWait is how long a proposal waits for a leader to be known.
	leaderWait = 5 * time.Second
	// proposeTimeout bounds a proposal whose context does not.
	proposeTimeout = 15 * time.Second
	retryPause     = 20 * time.Millisecond
)

// Propose puts a change into the log, wherever the leader is, and returns its
// result once this node has applied it: a read after it sees it. body is a
// struct of package state, or a pointer to one.
//
// Refusals by the state machine are in the Result, per record. An error means
// that there is no result: CodeUnavailable when no leader could be found or a node
// runs a version that does not know the change, and nothing happened,
// CodeIndeterminate when the change may have been committed all the same,
// CodeRateLimited when too much waits to be committed already and nothing
// happened, CodeTooLarge for a body that no entry can hold, CodeDenied
// or CodeUnauthenticated when the leader does not let this node in.
func (c *Cluster) Propose(ctx context.Context, typ state.EntryType, body any) (state.Result, error) {
	once, err := c.proposal(typ, body)
	if err != nil {
		return state.Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	result, err := once(ctx)
	if errors.Is(err, errNotSent) {
		result, err = c.tryAgain(ctx, once)
		if api.CodeOf(err) == api.CodeUnavailable && state.LevelOfBody(body) > c.State().Level() {
			return result, tooNew()
		}
	}
	return result, err
}

// tryAgain repeats what was not sent until there is a leader to take it.
func (c *Cluster) tryAgain(ctx context.Context, once func(context.Context) (state.Result, error)) (state.Result, error) {
	waiting, stop := context.WithTimeout(ctx, leaderWait)
	defer stop()
	for {
		pause(waiting, retryPause)
		if waiting.Err() != nil || c.isDone() {
			return state.Result{}, unavailable()
		}
		result, err := once(ctx)
		if !errors.Is(err, errNotSent) {
			return result, err
		}
	}
}

// proposal encodes a change and returns what tries once to commit it, by the
// way that its type, its size and the cluster's level allow.
func (c *Cluster) proposal(typ state.EntryType, body any) (once func(context.Context) (state.Result, error), err error) {
	if state.Batchable(typ) && c.Knows(state.TypeBatch) {
		record, err := state.EncodeRecord(typ, body)
		if err == nil {
			return func(ctx context.Context) (state.Result, error) { return c.proposeBatched(ctx, record) }, nil
		}
		if api.CodeOf(err) != api.CodeTooLarge {
			return nil, err
		}
	}
	entry, err := state.EncodeEntry(typ, c.cfg.Now(), body)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (state.Result, error) { return c.proposeOnce(ctx, entry) }, nil
}

// Knows reports whether every node of the cluster can apply a type of entry.
func (c *Cluster) Knows(typ state.EntryType) bool { return state.LevelOf(typ) <= c.State().Level() }

// proposeOnce returns errNotSent when nothing happened.
func (c *Cluster) proposeOnce(ctx context.Context, entry []byte) (state.Result, error) {
	if ctx.Err() != nil {
		return state.Result{}, errNotSent
	}
	if c.IsLeader() {
		return c.commit(ctx, entry, func() {})
	}
	id, addr, ok := c.leaderElsewhere()
	if !ok {
		return state.Result{}, errNotSent
	}
	result, err := c.forward(ctx, id, addr, entry)
	if err != nil {
		return state.Result{}, err
	}
	if err := c.waitApplied(ctx, result.Index); err != nil {
		return state.Result{}, indeterminate()
	}
	return result, nil
}

// commit appends an entry to the leader's log and waits until a majority has
// it and the state machine has answered. It calls answered at that moment, even
// before whoever waits for it can run.
func (c *Cluster) commit(ctx context.Context, entry []byte, answered func()) (state.Result, error) {
	if state.LevelOfEntry(entry) > c.State().Level() {
		return state.Result{}, errNotSent // some node would stop at it
	}
	state.StampEntry(entry, c.cfg.Now())
	enqueue := leaderWait
	if deadline, ok := ctx.Deadline(); ok {
		enqueue = min(enqueue, max(time.Until(deadline), time.Millisecond))
	}
	f := c.raft.Apply(entry, enqueue)
	if err := classify(c.await(ctx, hooked{f, answered})); err != nil {
		return state.Result{}, err
	}
	switch r := f.Response().(type) {
	case state.Result:
		return r, nil
	case error:
		return state.Result{}, indeterminate() // committed, but this node stopped
	default:
		return state.Result{}, api.Errorf(api.CodeInternal, "unexpected response %T", r)
	}
}

// hooked is a future that tells when it is answered.
type hooked struct {
	raft.Future
	answered func()
}

// Error implements raft.Future.
func (h hooked) Error() error {
	defer h.answered()
	return h.Future.Error()
}

// waitApplied waits until this node has applied index.
func (c *Cluster) waitApplied(ctx context.Context, index uint64) error {
	if c.State().Applied() >= index {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := c.fsm.wait(ctx, index); err != nil {
		return fmt.Errorf("wait for index %d: %w", index, err)
	}
	return nil
}

func (c *Cluster) isDone() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}
