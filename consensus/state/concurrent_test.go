package state

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// Reads go on while entries are applied and while the whole state is replaced;
// what they return is of one moment.
func TestReadsDuringApply(t *testing.T) {
	r := fleet(t)
	stream := r.snapshot()
	at := r.index
	stop := make(chan struct{})
	var readers sync.WaitGroup
	read := func(fn func()) {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					fn()
				}
			}
		})
	}
	now := r.now // the rig's own moves on with each entry
	read(func() { r.Due("a1", nil, now, nil, 0); r.Settings(); r.Nodes(); r.Agent("a2") })
	read(func() {
		for _, ro := range r.Rollouts() {
			sum := 0
			for _, n := range ro.Counts {
				sum += n
			}
			if sum != ro.Agents {
				t.Errorf("rollout %s has %d commands for %d agents", ro.ID, sum, ro.Agents)
			}
		}
	})
	read(func() { r.Commands(CommandFilter{}, "", 0); r.Agents("", 0, nil); r.Command("r1:a1") })
	read(func() {
		if s, err := r.Snapshot(); err == nil {
			_ = s.Write(io.Discard)
			_ = s.Close()
		}
	})
	for round := range 3 {
		for i := range 20 {
			id := fmt.Sprintf("extra-%d-%d", round, i)
			r.must(
				enrol(id, "eu", "t1", nil), rollout("r-"+id, api.Selector{All: true}),
				lease(id, "r-"+id+":"+id), report(id, says("p", "r-"+id+":"+id, api.StateSucceeded)),
				CancelRollout{"r-" + id},
			)
		}
		require.NoError(t, r.Restore(bytes.NewReader(stream)))
		r.index = at
	}
	close(stop)
	readers.Wait()
	require.NoError(t, r.Err())
}

func TestCloseWaitsForReaders(t *testing.T) {
	r := busy(t)
	s, err := r.Snapshot()
	require.NoError(t, err)
	closed := make(chan error, 1)
	go func() { closed <- r.Close() }()
	require.Eventually(t, func() bool { return errors.Is(r.Flush(), ErrClosed) }, time.Second, time.Millisecond)
	require.Empty(t, closed)
	require.NoError(t, s.Write(io.Discard))
	require.NoError(t, s.Close())
	require.NoError(t, <-closed)
}
