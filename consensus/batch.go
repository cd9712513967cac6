package consensus

import (
	"context"
	"sync/atomic"
	"time"

	"redflag/api"
	"redflag/consensus/state"
)

const (
	// batchPatience is how long a record waits for company while other batches
	// are under way. With none under way it does not wait at all.
	batchPatience = 5 * time.Millisecond
	// batchesInFlight hides the round trip to the majority; more than that
	// only grows what is in the log and not yet committed.
	batchesInFlight = 4
	// queuedRecords and queuedBytes bound what waits for a batch on this node.
	queuedRecords = 8 << 10
	queuedBytes   = 16 << 20
)

// A pending record is waiting until a batch takes it, or its caller gives up.
const (
	recordWaiting int32 = iota
	recordTaken
	recordGivenUp
)

// pending is one caller's record on its way into the log.
type pending struct {
	record    state.Record
	forwarded bool // by another node: it is not passed on again
	phase     atomic.Int32
	answer    chan outcome // takes one value
}

type outcome struct {
	result state.Result
	err    error
}

func (p *pending) finish(result state.Result, err error) { p.answer <- outcome{result, err} }

func finishAll(batch []*pending, err error) {
	for _, p := range batch {
		p.finish(state.Result{}, err)
	}
}

// batcher gathers records that arrive at about the same time. Under load the
// batches grow by themselves, since records gather while earlier ones are
// written; a lone record is sent at once.
type batcher struct {
	queue chan *pending
	bytes atomic.Int64
	slots chan struct{} // one for each batch under way
	send  func(ctx context.Context, batch []*pending)
}

func newBatcher(send func(context.Context, []*pending)) *batcher {
	return &batcher{queue: make(chan *pending, queuedRecords), slots: make(chan struct{}, batchesInFlight), send: send}
}

// add queues a record, or refuses it when the queue is full.
func (b *batcher) add(r state.Record, forwarded bool) (*pending, error) {
	p := &pending{record: r, forwarded: forwarded, answer: make(chan outcome, 1)}
	size := int64(len(r.Body))
	if b.bytes.Add(size) <= queuedBytes {
		select {
		case b.queue <- p:
			return p, nil
		default:
		}
	}
	b.bytes.Add(-size)
	return nil, api.Errorf(api.CodeRateLimited, "too many changes wait to be committed").
		WithHint("nothing was changed; try again in a second")
}

// run sends batches until ctx ends, and returns once the last one is answered.
func (b *batcher) run(ctx context.Context) {
	defer func() { // wait for what is under way
		for range batchesInFlight {
			b.slots <- struct{}{}
		}
	}()
	var first *pending
	for {
		if first == nil {
			if first = b.next(ctx, nil); first == nil {
				return
			}
		}
		select {
		case b.slots <- struct{}{}:
		case <-ctx.Done():
			first.finish(state.Result{}, errNotSent)
			return
		}
		batch, rest := b.gather(ctx, first)
		first = rest
		go func() {
			defer func() { <-b.slots }()
			b.send(ctx, batch)
		}()
	}
}

// next takes a record out of the queue, or returns nil when ctx or patience
// ends while there is none. A nil patience waits for ever.
func (b *batcher) next(ctx context.Context, patience <-chan time.Time) *pending {
	for {
		var p *pending
		select {
		case p = <-b.queue:
		default:
			select {
			case p = <-b.queue:
			case <-patience:
				return nil
			case <-ctx.Done():
				return nil
			}
		}
		b.bytes.Add(-int64(len(p.record.Body)))
		if p.phase.CompareAndSwap(recordWaiting, recordTaken) {
			return p
		}
	}
}

// gather fills a batch that begins with first. A record that no longer fits is
// returned beside it, to begin the next one.
func (b *batcher) gather(ctx context.Context, first *pending) (batch []*pending, rest *pending) {
	batch = []*pending{first}
	size := len(first.record.Body)
	patience := time.NewTimer(b.patience())
	defer patience.Stop()
	for len(batch) < state.MaxBatchRecords && size < state.MaxBatchBytes {
		p := b.next(ctx, patience.C)
		if p == nil {
			break
		}
		if size += len(p.record.Body); size > state.MaxBatchBytes {
			return batch, p
		}
		batch = append(batch, p)
	}
	return batch, nil
}

func (b *batcher) patience() time.Duration {
	if len(b.slots) > 1 { // one of them is for the batch that is being filled
		return batchPatience
	}
	return 0
}

// proposeBatched sends a record with others of its time and waits for its own
// outcome.
func (c *Cluster) proposeBatched(ctx context.Context, r state.Record) (state.Result, error) {
	p, err := c.batcher.add(r, false)
	if err != nil {
		return state.Result{}, err
	}
	result, err := c.outcomeOf(ctx, p)
	if err != nil {
		return state.Result{}, err
	}
	if err := c.waitApplied(ctx, result.Index); err != nil {
		return state.Result{}, indeterminate()
	}
	return result, nil
}

// outcomeOf waits for the answer to a record. One that is still queued when the
// caller can wait no longer is never sent.
func (c *Cluster) outcomeOf(ctx context.Context, p *pending) (state.Result, error) {
	select {
	case o := <-p.answer:
		return o.result, o.err
	case <-ctx.Done():
	case <-c.done:
	}
	if p.phase.CompareAndSwap(recordWaiting, recordGivenUp) {
		return state.Result{}, errNotSent
	}
	return state.Result{}, indeterminate()
}

// sendBatch commits a batch on the leader, and carries it there from any other
// node. The answers go to the callers.
func (c *Cluster) sendBatch(ctx context.Context, batch []*pending) {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	if c.IsLeader() {
		c.commitBatch(ctx, batch)
		return
	}
	own := batch[:0:0]
	for _, p := range batch {
		if p.forwarded {
			p.finish(state.Result{}, errNotSent)
		} else {
			own = append(own, p)
		}
	}
	if len(own) > 0 {
		c.forwardBatch(ctx, own)
	}
}

func (c *Cluster) commitBatch(ctx context.Context, batch []*pending) {
	entry, err := c.encodeBatch(batch)
	if err != nil {
		finishAll(batch, err)
		return
	}
	result, err := c.commit(ctx, entry)
	if err != nil {
		finishAll(batch, err)
		return
	}
	parts := result.Split()
	for i, p := range batch {
		if i < len(parts) {
			p.finish(parts[i], nil)
		} else { // the entry was applied before this node asked, as after a restart
			p.finish(state.Result{}, indeterminate())
		}
	}
}

func (c *Cluster) encodeBatch(batch []*pending) ([]byte, error) {
	b := state.Batch{Records: make([]state.Record, len(batch))}
	for i, p := range batch {
		b.Records[i] = p.record
	}
	return state.EncodeEntry(state.TypeBatch, c.cfg.Now(), b)
}

func (c *Cluster) forwardBatch(ctx context.Context, batch []*pending) {
	id, addr, ok := c.leaderElsewhere()
	if !ok {
		finishAll(batch, errNotSent)
		return
	}
	entry, err := c.encodeBatch(batch)
	if err != nil {
		finishAll(batch, err)
		return
	}
	a, err := c.exchange(ctx, id, addr, entry)
	if err == nil && len(a.Records) != len(batch) {
		err = indeterminate()
	}
	if err != nil {
		finishAll(batch, err)
		return
	}
	for i, p := range batch {
		p.finish(a.Records[i].outcome())
	}
}

// handleBatch merges the records of another node's batch with this node's own,
// and returns the outcome of each.
func (c *Cluster) handleBatch(ctx context.Context, entry []byte) (answer, error) {
	records, err := state.DecodeBatch(entry)
	if err != nil {
		return answer{}, err
	}
	if !c.IsLeader() {
		return answer{}, errNotSent
	}
	waiting := make([]*pending, len(records))
	a := answer{Records: make([]answer, len(records))}
	for i, r := range records {
		if waiting[i], err = c.batcher.add(r, true); err != nil {
			a.Records[i].Error = wireError(err)
		}
	}
	for i, p := range waiting {
		if p == nil {
			continue
		}
		if a.Records[i].Result, err = c.outcomeOf(ctx, p); err != nil {
			a.Records[i].Error = wireError(err)
		}
	}
	return a, nil
}
