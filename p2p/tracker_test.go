package p2p

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestOneMemberOfARegionCrosses(t *testing.T) {
	const wait = 10 * time.Second
	tr, start := NewTracker(), time.Now()
	cross := func(id string, left int64, after time.Duration) bool {
		m := Member{Peer: Peer{ID: id, Region: "us"}, Addr: id + ":1", Left: left}
		tr.Announce("hash", m, start.Add(after))
		return tr.MayCross("hash", m, wait, start.Add(after))
	}
	require.False(t, cross("a", 100, 0), "the region's node may come back")
	require.False(t, cross("b", 100, time.Second))
	require.True(t, cross("a", 100, wait))
	require.False(t, cross("b", 100, wait+time.Second), "one is enough")
	require.False(t, cross("b", 100, wait+crossingExpiry-time.Second))
	require.True(t, cross("b", 100, wait+crossingExpiry+2*time.Second), "it took the place of the silent one")
	require.False(t, cross("c", 0, wait+crossingExpiry+3*time.Second))
	require.False(t, cross("b", 100, wait+crossingExpiry+4*time.Second), "a whole copy is in the region")
}

func TestTracker(t *testing.T) {
	tr, now := NewTracker(), time.Now()
	join := func(id, region string, left int64) api.AnnounceResponse {
		return tr.Announce("hash", Member{Peer: Peer{ID: id, Region: region}, Addr: id + ":1", Left: left}, now)
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

	now = now.Add(memberExpiry + time.Second)
	require.Empty(t, join("c", "eu", 1).Peers, "the silent are forgotten")
	now = now.Add(memberExpiry + time.Second)
	tr.Sweep(now)
	require.Empty(t, tr.swarms)
}
