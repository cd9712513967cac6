package regions

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestRank(t *testing.T) {
	nodes := []api.NodeAddr{
		{ID: "us2", Region: "us"},
		{ID: "us1", Region: "us"},
		{ID: "ap1", Region: "ap"},
		{ID: "eu2", Region: "eu"},
		{ID: "eu1", Region: "eu"},
	}
	for name, tc := range map[string]struct {
		region string
		rtt    map[string]time.Duration
		want   []string
	}{
		"nothing measured": {
			region: "eu",
			want:   []string{"eu1", "eu2", "ap1", "us1", "us2"},
		},
		"own region beats a shorter way": {
			region: "eu",
			rtt:    map[string]time.Duration{"us2": 1, "eu2": 90},
			want:   []string{"eu2", "eu1", "us2", "ap1", "us1"},
		},
		"a region without a node": {
			region: "af",
			rtt:    map[string]time.Duration{"us1": 5, "us2": 5, "eu1": 2},
			want:   []string{"eu1", "us1", "us2", "ap1", "eu2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, n := range Rank(nodes, tc.region, tc.rtt) {
				got = append(got, n.ID)
			}
			require.Equal(t, tc.want, got)
			require.Equal(t, "us2", nodes[0].ID, "the argument keeps its order")
		})
	}
	require.Empty(t, Rank(nil, "eu", nil))
}

func TestRTT(t *testing.T) {
	var r RTT
	require.Empty(t, r.Snapshot())
	r.Observe("a", 0)
	require.Empty(t, r.Snapshot())

	r.Observe("a", 100*time.Millisecond)
	r.Observe("a", 500*time.Millisecond)
	require.Equal(t, 200*time.Millisecond, r.Snapshot()["a"], "one outlier counts a quarter")
	for range 40 {
		r.Observe("a", 10*time.Millisecond)
	}
	require.InDelta(t, 10*time.Millisecond, r.Snapshot()["a"], float64(time.Millisecond))

	r.Fail("a")
	r.Fail("never seen")
	require.NotContains(t, r.Snapshot(), "a")
}

func TestRTTConcurrently(t *testing.T) {
	var r RTT
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 100 {
				r.Observe("a", time.Millisecond)
				r.Snapshot()["a"]++ // a copy
				r.Fail("b")
			}
		})
	}
	wg.Wait()
	require.Equal(t, time.Millisecond, r.Snapshot()["a"])
}
