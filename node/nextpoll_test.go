package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

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
