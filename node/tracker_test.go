package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestTracker(t *testing.T) {
	tr, now := newTracker(), time.Now()
	join := func(id, region string, left int64) api.AnnounceResponse {
		return tr.announce("hash", member{SwarmPeer: api.SwarmPeer{ID: id, Addr: id + ":1"}, region: region, left: left}, now)
	}
	join("a", "eu", 100)
	join("x", "us", 100)
	b := join("b", "eu", 100)
	require.Equal(t, []api.SwarmPeer{{ID: "a", Addr: "a:1"}}, b.Peers, "agents of other regions are no peers")
	require.Equal(t, []int{1, 2}, []int{b.Rank, b.Size}, "each has a rank of its own")
	require.Less(t, time.Duration(b.Interval), announceInterval, "who misses pieces asks again soon")

	join("a", "eu", 0)
	b = join("b", "eu", 50)
	require.Equal(t, []int{0, 1}, []int{b.Rank, b.Size}, "who is complete needs no rank")
	require.Len(t, b.Peers, 1, "and still serves")
	require.Empty(t, join("b", "eu", 0).Peers, "two seeds have nothing to say to each other")

	now = now.Add(trackerExpiry + time.Second)
	require.Empty(t, join("c", "eu", 1).Peers, "the silent are forgotten")
	now = now.Add(trackerExpiry + time.Second)
	tr.sweep(now)
	require.Empty(t, tr.swarms)
}

func TestNextPollIsSpread(t *testing.T) {
	s := api.Settings{}
	var least, most time.Duration = time.Hour, 0
	for range 1000 {
		d := time.Duration(nextPoll(s, api.ActivityIdle, false))
		least, most = min(least, d), max(most, d)
	}
	require.GreaterOrEqual(t, least, 30*time.Second)
	require.Less(t, most, 90*time.Second)
	require.Greater(t, most-least, 30*time.Second, "many agents must not poll at once")
	require.Less(t, time.Duration(nextPoll(s, api.ActivityIdle, true)), 10*time.Second)
}
