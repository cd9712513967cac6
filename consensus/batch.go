package consensus

import (
	"bytes"
	"context"
	"sync"
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
	// send answers a batch. It calls done as soon as the batch is not under way
	// any more, before it wakes the callers.
	send func(ctx context.Context, batch []*pending, done func())
}

func newBatcher(send func(context.Context, []*pending, func())) *batcher {
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
	return nil, queueFull()
}

func queueFull() *api.Error {
	return api.Errorf(api.CodeRateLimited, "too many changes wait to be committed").
		WithHint("nothing was changed; try again in a second")
}

// slot waits until a batch of another node may be under way beside this node's
// own, and returns what ends that.
func (b *batcher) slot(ctx context.Context, size int64) (release func(), err error) {
	defer b.bytes.Add(-size) // what is under way does not wait any more
	if b.bytes.Add(size) > queuedBytes {
		return nil, queueFull()
	}
	select {
	case b.slots <- struct{}{}:
		return sync.OnceFunc(func() { <-b.slots }), nil
	case <-ctx.Done():
		return nil, errNotSent
	}
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
			if first = b.next(ctx); first == nil {
				return
			}
		}
		f := filling{batch: []*pending{first}, size: len(first.record.Body)}
		b.fill(ctx, &f)
		if !b.await(ctx, &f) {
			finishAll(f.all(), errNotSent)
			return
		}
		first = f.rest
		go func() {
			release := sync.OnceFunc(func() { <-b.slots })
			defer release()
			b.send(ctx, f.batch, release)
		}()
	}
}

// filling is a batch that may still grow.
type filling struct {
	batch []*pending
	size  int      // of all bodies, in bytes
	rest  *pending // what did not fit: it begins the next batch
}

func (f *filling) full() bool {
	return f.rest != nil || len(f.batch) >= state.MaxBatchRecords || f.size >= state.MaxBatchBytes
}

func (f *filling) add(p *pending) {
	if f.size+len(p.record.Body) > state.MaxBatchBytes {
		f.rest = p
		return
	}
	f.size += len(p.record.Body)
	f.batch = append(f.batch, p)
}

func (f *filling) all() []*pending {
	if f.rest == nil {
		return f.batch
	}
	return append(f.batch, f.rest)
}

// next waits for a record and takes it out of the queue. It returns nil when
// ctx ends first.
func (b *batcher) next(ctx context.Context) *pending {
	for {
		select {
		case p := <-b.queue:
			if b.take(p) {
				return p
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// take reports whether the caller of a record that left the queue still waits.
func (b *batcher) take(p *pending) bool {
	b.bytes.Add(-int64(len(p.record.Body)))
	return p.phase.CompareAndSwap(recordWaiting, recordTaken)
}

// fill lets a batch grow by what is there, and for a moment by what comes while
// others are under way.
func (b *batcher) fill(ctx context.Context, f *filling) {
	var patience <-chan time.Time
	for !f.full() {
		select {
		case p := <-b.queue:
			if b.take(p) {
				f.add(p)
			}
			continue
		default:
		}
		if len(b.slots) == 0 {
			return
		}
		if patience == nil {
			timer := time.NewTimer(batchPatience)
			defer timer.Stop()
			patience = timer.C
		}
		select {
		case p := <-b.queue:
			if b.take(p) {
				f.add(p)
			}
		case <-patience:
			return
		case <-ctx.Done():
			return
		}
	}
}

// await waits until a batch may be under way, while it goes on growing. It
// reports false when ctx ends first.
func (b *batcher) await(ctx context.Context, f *filling) bool {
	for {
		queue := b.queue
		if f.full() {
			queue = nil
		}
		select {
		case b.slots <- struct{}{}:
			return true
		case p := <-queue:
			if b.take(p) {
				f.add(p)
			}
		case <-ctx.Done():
			return false
		}
	}
}

// proposeBatched sends a record with others of its time and waits for its own
// outcome, which this node has applied by then.
func (c *Cluster) proposeBatched(ctx context.Context, r state.Record) (state.Result, error) {
	p, err := c.batcher.add(r, false)
	if err != nil {
		return state.Result{}, err
	}
	return c.outcomeOf(ctx, p)
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
func (c *Cluster) sendBatch(ctx context.Context, batch []*pending, done func()) {
	ctx, cancel := context.WithTimeout(ctx, proposeTimeout)
	defer cancel()
	if c.IsLeader() {
		c.commitBatch(ctx, batch, done)
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
		c.forwardBatch(ctx, own, done)
	}
}

func (c *Cluster) commitBatch(ctx context.Context, batch []*pending, done func()) {
	entry, err := c.encodeBatch(batch)
	if err != nil {
		finishAll(batch, err)
		return
	}
	result, err := c.commit(ctx, entry, done)
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

func (c *Cluster) forwardBatch(ctx context.Context, batch []*pending, done func()) {
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
	done()
	if err == nil && (len(a.Records) != len(batch) || c.waitApplied(ctx, a.lastIndex()) != nil) {
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

// wholeBatch is how many records make another node's batch worth an entry of its
// own. It then need not be taken apart.
const wholeBatch = state.MaxBatchRecords / 4

// handleBatch commits another node's batch, a small one together with this
// node's own records, and returns the outcome of each record.
func (c *Cluster) handleBatch(ctx context.Context, entry []byte) (answer, error) {
	records, err := state.DecodeBatch(entry)
	if err != nil {
		return answer{}, err
	}
	if !c.IsLeader() {
		return answer{}, errNotSent
	}
	if len(records) >= wholeBatch {
		return c.handleWhole(ctx, bytes.Clone(entry)) // Raft keeps it beyond this call
	}
	return c.merge(ctx, records)
}

// handleWhole commits another node's batch as it is.
func (c *Cluster) handleWhole(ctx context.Context, entry []byte) (answer, error) {
	release, err := c.batcher.slot(ctx, int64(len(entry)))
	if err != nil {
		return answer{}, err
	}
	defer release()
	result, err := c.commit(ctx, entry, release)
	if err != nil {
		return answer{}, err
	}
	parts := result.Split()
	a := answer{Records: make([]answer, len(parts))}
	for i := range parts {
		a.Records[i].Result = parts[i]
	}
	return a, nil
}

// merge puts records of another node among this node's own.
func (c *Cluster) merge(ctx context.Context, records []state.Record) (a answer, err error) {
	waiting := make([]*pending, len(records))
	a.Records = make([]answer, len(records))
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
