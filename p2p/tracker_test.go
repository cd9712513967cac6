package p2p

import (
	"fmt"
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
		return tr.Crosser("hash", "us", false, wait, start.Add(after)) == id
	}
	require.False(t, cross("a", 100, 0), "the region's node may come back")
	require.False(t, cross("b", 100, time.Second))
	require.True(t, cross("a", 100, wait))
	require.False(t, cross("b", 100, wait+time.Second), "one is enough")
	require.False(t, cross("b", 100, wait+crossingExpiry-time.Second))
	require.True(t, cross("b", 100, wait+crossingExpiry+2*time.Second), "it took the place of the silent one")
	require.False(t, cross("c", 0, wait+crossingExpiry+3*time.Second))
	require.False(t, cross("b", 100, wait+crossingExpiry+4*time.Second), "a whole copy is in the region")
	for later := 5 * time.Second; later < wait+announceInterval; later += announceBusy {
		require.False(t, cross("b", 100, wait+crossingExpiry+later), "who has it all announces rarely, and is still there")
	}
}

// TestRegionWithANodeCrossesOnlyWhenNothingComes has agents that are in no hurry
// and, later, cannot reach the node that the others see.
func TestRegionWithANodeCrossesOnlyWhenNothingComes(t *testing.T) {
	const wait = 10 * time.Second
	tr, start := NewTracker(), time.Now()
	at, left := time.Duration(0), map[string]int64{"a": 100, "b": 100}
	step := func(got int64) {
		at += announceBusy
		for _, id := range []string{"a", "b"} {
			left[id] -= got
			tr.Announce("hash", Member{Peer: Peer{ID: id, Region: "us"}, Addr: id + ":1", Left: left[id]}, start.Add(at))
		}
	}
	crosser := func(withNodes bool) string { return tr.Crosser("hash", "us", withNodes, wait, start.Add(at)) }
	for range 10 {
		step(5)
		require.Empty(t, crosser(true), "their node serves them, however slowly")
	}
	step(0)
	require.Empty(t, crosser(true))
	for range 3 {
		step(0)
	}
	require.Equal(t, "a", crosser(true), "nothing has come for a while")
	step(5)
	require.Equal(t, "a", crosser(true), "what it fetches itself is no reason to stop")
	require.Equal(t, "a", crosser(false))

	tr.swarms["hash"].crossing["us"] = crossing{"a", true}
	require.Equal(t, "a", crosser(false))
	step(5)
	require.Empty(t, crosser(true), "the region's node is back")
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

func TestTrackerOfManyMembers(t *testing.T) {
	const agents, sites = 3000, 2
	tr, now := NewTracker(), time.Now()
	member := func(i int, left int64) Member {
		id := fmt.Sprintf("agent-%04d", i)
		return Member{Peer: Peer{ID: id, Region: "eu", Site: fmt.Sprint(i % sites)}, Addr: id + ":1", Left: left}
	}
	for i := range agents {
		tr.Announce("hash", member(i, 1), now)
	}
	ranks := map[int]bool{}
	for i := range agents {
		resp := tr.Announce("hash", member(i, 1), now)
		require.Equal(t, agents, resp.Size)
		ranks[resp.Rank] = true
	}
	require.Len(t, ranks, agents, "each has a rank of its own")

	resp := tr.Announce("hash", member(7, 1), now)
	seen, near := map[string]bool{}, 0
	for _, p := range resp.Peers {
		require.NotEqual(t, "agent-0007", p.ID)
		seen[p.ID] = true
		if p.SameSite {
			near++
		}
	}
	require.Len(t, seen, trackerPeers, "nobody is named twice")
	require.Equal(t, trackerPeers-strangers, near, "the site comes first, and is no island")

	for i := range agents - 1 {
		resp := tr.Announce("hash", member(i, 0), now)
		require.Equal(t, []int{0, 1}, []int{resp.Rank, resp.Size})
	}
	resp = tr.Announce("hash", member(agents-1, 1), now)
	require.Equal(t, []int{0, 1}, []int{resp.Rank, resp.Size}, "the last one that misses pieces")
	require.Equal(t, "agent-2999", tr.Announce("hash", member(0, 0), now).Peers[0].ID, "the seeds know it")
	moved := member(agents-1, 1)
	moved.Site = "elsewhere"
	for _, p := range tr.Announce("hash", moved, now).Peers {
		require.False(t, p.SameSite)
	}
}

func BenchmarkAnnounce(b *testing.B) {
	for _, members := range []int{50, 5000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			tr, now := NewTracker(), time.Now()
			m := make([]Member, members)
			for i := range m {
				m[i] = Member{Peer: Peer{ID: fmt.Sprint("agent-", i), Region: "eu"}, Addr: "a:1", Left: 1}
				tr.Announce("hash", m[i], now)
			}
			for i := 0; b.Loop(); i++ {
				tr.Announce("hash", m[i%members], now)
			}
		})
	}
}

// BenchmarkCrosser shows why its answer is remembered: it grows with the region.
func BenchmarkCrosser(b *testing.B) {
	for _, members := range []int{50, 50_000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			tr, now := NewTracker(), time.Now()
			for i := range members {
				tr.Announce("hash", Member{Peer: Peer{ID: fmt.Sprint("agent-", i), Region: "eu"}, Addr: "a:1", Left: 1}, now)
			}
			for b.Loop() {
				tr.Crosser("hash", "eu", true, time.Minute, now)
			}
		})
	}
}

// TestLargeSwarmsAnnounceLessOften: a node has to answer its whole region.
func TestLargeSwarmsAnnounceLessOften(t *testing.T) {
	tr, now := NewTracker(), time.Now()
	var last api.AnnounceResponse
	for i := range 20_000 {
		id := fmt.Sprint(i)
		last = tr.Announce("hash", Member{Peer: Peer{ID: id, Region: "eu"}, Addr: id + ":1", Left: 100}, now)
		if i == 1000 {
			require.Equal(t, api.Duration(announceBusy), last.Interval)
		}
	}
	require.Equal(t, api.Duration(announceSlow), last.Interval)
	require.Less(t, jitter(announceSlow), crossingExpiry, "nobody is taken for silent in between")
	other := tr.Announce("hash", Member{Peer: Peer{ID: "x", Region: "us"}, Addr: "x:1", Left: 100}, now)
	require.Equal(t, api.Duration(announceBusy), other.Interval, "each region for itself")
}
