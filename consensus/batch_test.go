package consensus

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus/state"
)

// collected is a batcher whose batches the test answers itself.
func collected(t *testing.T) (*batcher, chan []*pending) {
	t.Helper()
	sent := make(chan []*pending)
	b := newBatcher(func(_ context.Context, batch []*pending, _ func()) { sent <- batch })
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		for {
			select {
			case <-sent:
			case <-ended:
				return
			}
		}
	})
	return b, sent
}

func recordOf(size int) state.Record {
	return state.Record{Type: state.TypeLease, Body: make([]byte, size)}
}

func mustAdd(t *testing.T, b *batcher, size int) *pending {
	t.Helper()
	p, err := b.add(recordOf(size), false)
	require.NoError(t, err)
	return p
}

// What arrives while a batch is under way travels together, within the bounds.
func TestBatchesGrowUnderLoad(t *testing.T) {
	b, sent := collected(t)
	expected := 2*state.MaxBatchRecords + 1
	require.Eventually(t, func() bool { // nobody takes the batches yet, so all slots fill
		if len(b.slots) < batchesInFlight {
			mustAdd(t, b, 1)
			expected++
		}
		return len(b.slots) == batchesInFlight
	}, 5*time.Second, 2*batchPatience)
	for range 2*state.MaxBatchRecords + 1 {
		mustAdd(t, b, 1)
	}
	batches, records := 0, 0
	for records < expected {
		batch := <-sent
		require.LessOrEqual(t, len(batch), state.MaxBatchRecords)
		records += len(batch)
		batches++
	}
	require.LessOrEqual(t, batches, batchesInFlight+3, "%d records", records)

	mustAdd(t, b, state.MaxBatchBytes)
	mustAdd(t, b, state.MaxBatchBytes)
	require.Len(t, <-sent, 1, "two of them are too large for one")
	require.Len(t, <-sent, 1)
	require.Zero(t, b.bytes.Load())
}

func TestFullQueueSaysSo(t *testing.T) {
	b := newBatcher(nil) // nothing takes records out
	c := &Cluster{batcher: b, done: make(chan struct{})}
	var first *pending
	for i := range queuedBytes / state.MaxBatchBytes {
		p := mustAdd(t, b, state.MaxBatchBytes)
		if i == 0 {
			first = p
		}
	}
	_, err := b.add(recordOf(1), false)
	require.Equal(t, api.CodeRateLimited, api.CodeOf(err))
	require.Equal(t, 429, api.CodeOf(err).HTTPStatus())

	// Whoever gives up while the record is queued knows that nothing happened.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = c.outcomeOf(ctx, first)
	require.ErrorIs(t, err, errNotSent)
	require.Equal(t, state.MaxBatchBytes, len(b.next(t.Context()).record.Body))
	require.Equal(t, int64(queuedBytes-2*state.MaxBatchBytes), b.bytes.Load(), "the record that was given up is skipped")

	// And whoever does so later does not.
	p := mustAdd(t, b, 1)
	p.phase.Store(recordTaken)
	_, err = c.outcomeOf(ctx, p)
	require.Equal(t, api.CodeIndeterminate, api.CodeOf(err))

	many := newBatcher(nil)
	for range queuedRecords {
		mustAdd(t, many, 1)
	}
	_, err = many.add(recordOf(1), false)
	require.Equal(t, api.CodeRateLimited, api.CodeOf(err))
}

// A leader whose queue is full answers each record of a forwarded batch, and a
// follower passes that on instead of trying again.
func TestAnswersPerRecord(t *testing.T) {
	limited := answer{Error: api.Errorf(api.CodeRateLimited, "full")}
	_, err := limited.outcome()
	require.Equal(t, api.CodeRateLimited, api.CodeOf(err))
	_, err = answer{Error: unavailable()}.outcome()
	require.ErrorIs(t, err, errNotSent)
	_, err = answer{Error: indeterminate()}.outcome()
	require.Equal(t, api.CodeIndeterminate, api.CodeOf(err))
	result, err := answer{Result: state.Result{Index: 7}}.outcome()
	assert.NoError(t, err)
	assert.Equal(t, uint64(7), result.Index)
}
