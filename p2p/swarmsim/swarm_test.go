package main

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func small() world {
	return world{
		Agents: 120, Regions: 3, Size: 8<<20 + 12345, Links: "mixed", Rate: 12_000_000, NodeRate: 24_000_000, WANRate: 50_000_000,
		Sites: 5, Latency: 10 * time.Millisecond, Seed: 7,
	}
}

func TestSmallSwarms(t *testing.T) {
	t.Parallel()
	for _, links := range []string{"even", "mixed", "wide"} {
		for _, churn := range []float64{0, 0.5} {
			for _, agents := range []int{6, 50, 300} {
				t.Run(fmt.Sprintf("%s, churn %v, %d agents", links, churn, agents), func(t *testing.T) {
					t.Parallel()
					w := small()
					w.Links, w.Churn, w.Agents = links, churn, agents
					out, err := w.simulate(t.Context())
					require.NoError(t, err)
					require.Equal(t, agents, out.Complete)
					require.Equal(t, int64(agents)*w.Size, out.Bytes.Node+out.Bytes.Site+out.Bytes.Region, "each byte comes once to each agent")
					require.Equal(t, int64(w.Regions-1)*w.Size, out.Bytes.WAN)
					require.Equal(t, []float64{1, 1}, out.Copies, "one copy crosses into each region")
					require.Greater(t, out.ratio(), 1.0, "nothing is faster than a fluid")
					require.Less(t, out.Makespan, 10*out.Bound+time.Minute, "nobody is left out")
					require.GreaterOrEqual(t, out.NodeUp, 1.0, "a node sends each byte at least once")
					require.Equal(t, churn > 0, out.Wasted > 0, "only what machines that go down had under way is lost")
					require.GreaterOrEqual(t, out.Peak, out.PeakOfNode)
				})
			}
		}
	}
}

func TestSameSeedSameOutcome(t *testing.T) {
	t.Parallel()
	w := small()
	w.Churn = 0.3
	run := func(seed uint64) outcome {
		w.Seed = seed
		out, err := w.simulate(t.Context())
		require.NoError(t, err)
		out.Took, out.Tracker, out.Plan = 0, 0, 0 // this machine's time
		return out
	}
	first := run(1)
	require.Equal(t, first, run(1))
	require.NotEqual(t, first, run(2))
}

// TestLinksCarryNoMoreThanTheirRate: whatever happens, what left a link and what
// came in fits in the time that it took.
func TestLinksCarryNoMoreThanTheirRate(t *testing.T) {
	t.Parallel()
	w := small()
	r, err := w.region(0)
	require.NoError(t, err)
	for i := range r.swarm.members[1:] {
		m := &r.swarm.members[i+1]
		require.GreaterOrEqual(t, float64(m.doneAt), float64(r.swarm.got[i+1])*m.down, "the downlink of agent %d", i)
	}
	node := &r.swarm.members[0]
	require.GreaterOrEqual(t, float64(r.makespan), float64(r.swarm.sent-r.swarm.cfg.pieceLength)*node.up, "the node's uplink")
}

func TestDraw(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		n := 1 + rng.IntN(200)
		of, held := newPieces(n), newPieces(n)
		want := map[int32]bool{}
		for i := range int32(n) {
			a, b := rng.IntN(2) == 0, rng.IntN(2) == 0
			if a {
				of.add(i)
			}
			if b {
				held.add(i)
			}
			if a && !b {
				want[i] = true
			}
		}
		require.Equal(t, len(want) > 0, wanted(of, held))
		got := draw(of, held, int32(rng.IntN(n)))
		if len(want) == 0 {
			require.Equal(t, int32(-1), got)
		} else {
			require.True(t, want[got], "%d of %v", got, want)
		}
	}
}

func TestCalendarIsInOrder(t *testing.T) {
	t.Parallel()
	var c calendar
	rng := rand.New(rand.NewPCG(2, 2))
	for range 1000 {
		c.add(event{at: rng.Int64N(50)})
	}
	last, ok := c.next()
	require.True(t, ok)
	for range 999 {
		e, ok := c.next()
		require.True(t, ok)
		require.True(t, e.at > last.at || (e.at == last.at && e.seq > last.seq))
		last = e
	}
	_, ok = c.next()
	require.False(t, ok)
}

func TestFlags(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"-agents", "none"}, {"-agents", "3"}, {"-regions", "0"}, {"-mib", "0"}, {"-churn", "2"}, {"-rate", "unlimited"}, {"-links", "odd"},
	} {
		require.Error(t, run(t.Context(), args), args)
	}
	o, err := parse([]string{"-rate", "1mbit"})
	require.NoError(t, err)
	require.Equal(t, api.Rate(1_000_000), o.Rate)
}
