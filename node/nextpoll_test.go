package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestNextPollIsSpread(t *testing.T) {
	s, p := api.Settings{}, newPace()
	next := func(activity api.Activity, handedOut bool) time.Duration {
		return time.Duration(p.next("a1", s, 1000, activity, handedOut, false, time.Now()))
	}
	var least, most time.Duration = time.Hour, 0
	for range 1000 {
		d := next(api.ActivityIdle, false)
		least, most = min(least, d), max(most, d)
	}
	require.GreaterOrEqual(t, least, 30*time.Second)
	require.Less(t, most, 90*time.Second)
	require.Greater(t, most-least, 30*time.Second, "many agents must not poll at once")
	require.Less(t, next(api.ActivityIdle, true), 10*time.Second)
}

// The intervals of many agents stretch until their polls fit into the budget,
// and shrink again when the agents have gone.
func TestPollsStayInsideTheBudget(t *testing.T) {
	s, p, now := api.Settings{}, newPace(), time.Now()
	const agents, budget = 2000, 10 // 2000 idle agents ask for 33 polls per second
	var sum time.Duration
	for range 2 { // in the first round the node still learns who is there
		sum = 0
		for i := range agents {
			sum += time.Duration(p.next(fmt.Sprintf("a%d", i), s, budget, api.ActivityIdle, false, false, now))
		}
	}
	perSecond := agents / (sum.Seconds() / agents)
	require.InDelta(t, budget, perSecond, 1)
	p.sweep(now.Add(24 * time.Hour))
	require.Empty(t, p.agents)
	require.Zero(t, p.demand)
	require.Less(t, time.Duration(p.next("a1", s, budget, api.ActivityIdle, false, false, now)), 90*time.Second)
}

func TestFailingAgentsBackOff(t *testing.T) {
	s := api.Settings{}
	require.Equal(t, 10*time.Second, interval(s, api.ActivityFailing, false, false, 1))
	require.Equal(t, 20*time.Second, interval(s, api.ActivityFailing, false, false, 2))
	require.Equal(t, time.Minute, interval(s, api.ActivityFailing, false, false, 50), "no slower than an idle one")
	require.Equal(t, 60*time.Second, interval(s, api.ActivityDegraded, false, false, 0))
	require.Equal(t, waitingInterval, interval(s, api.ActivityIdle, false, true, 0))

	// A command begins it anew.
	p := newPace()
	next := func(handedOut bool) time.Duration {
		return time.Duration(p.next("a1", s, 1000, api.ActivityFailing, handedOut, false, time.Now()))
	}
	for range 20 {
		next(false)
	}
	require.GreaterOrEqual(t, next(false), 30*time.Second)
	next(true)
	require.Less(t, next(false), 15*time.Second)
}

func TestTooManyPollsAreTurnedAway(t *testing.T) {
	p := newPace()
	require.NoError(t, p.admit(10))
	var err error
	taken := 1
	for ; taken < 10_000; taken++ {
		if err = p.admit(10); err != nil {
			break
		}
	}
	require.GreaterOrEqual(t, taken, overload*10)
	require.Equal(t, api.CodeRateLimited, api.CodeOf(err))
	var e *api.Error
	require.ErrorAs(t, err, &e)
	require.GreaterOrEqual(t, time.Duration(e.RetryAfter), time.Second)
}
