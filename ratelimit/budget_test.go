package ratelimit

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestBudgetIsDividedAndHolds(t *testing.T) {
	const total, ttl = api.Rate(20_000_000), 10 * time.Second
	b, now := NewBudget(), time.Unix(1_000_000, 0)
	held := map[string]lease{}
	take := func(id string) {
		held[id] = lease{b.Lease("site", id, total, ttl, now), now.Add(ttl)}
		sum, newcomers := api.Rate(0), api.Rate(0)
		for _, l := range held {
			if now.After(l.ends) {
				continue
			}
			if sum += l.rate; l.rate == Trickle {
				newcomers += l.rate
			}
		}
		require.LessOrEqual(t, sum, total+newcomers, "shares that hold never exceed the budget")
	}
	take("a0")
	require.Equal(t, total, held["a0"].rate, "one member has it all")
	for range 4 { // announces, three seconds apart
		for i := range 6 {
			take(fmt.Sprintf("a%d", i))
			now = now.Add(500 * time.Millisecond)
		}
	}
	for i := range 6 {
		require.Equal(t, total/6, held[fmt.Sprintf("a%d", i)].rate, "six have a sixth each")
	}
	now = now.Add(ttl + time.Second) // all but one fall silent
	take("a3")
	require.Equal(t, total, held["a3"].rate)
	require.Equal(t, total, b.Lease("other", "a9", total, ttl, now), "sites do not share")
	require.Equal(t, api.Unlimited, b.Lease("site", "a3", api.Unlimited, ttl, now))
	b.Sweep(now.Add(ttl + time.Second))
	require.Empty(t, b.sites)
}
