package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// What a leader has heard outlasts a node that does not answer, and does not hang
// on other nodes' clocks.
func TestPoolHearing(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	h := poolHearing{since: start, of: map[string]heardAgent{}}
	theirs := start.Add(-time.Hour) // their clock is slow
	seen := func(poll time.Time) map[string]*api.Presence {
		return map[string]*api.Presence{"a1": {AgentID: "a1", LastPoll: poll}}
	}
	require.Equal(t, start, h.last("a1"))
	h.note([]string{"a1"}, seen(theirs), start.Add(time.Second))
	require.Equal(t, start.Add(time.Second), h.last("a1"))
	h.note([]string{"a1"}, seen(theirs), start.Add(2*time.Second))
	require.Equal(t, start.Add(time.Second), h.last("a1"), "it is no new poll")
	h.note([]string{"a1"}, nil, start.Add(3*time.Second))
	require.Equal(t, start.Add(time.Second), h.last("a1"), "its node did not answer")
	h.note([]string{"a1"}, seen(theirs.Add(time.Minute)), start.Add(time.Minute))
	require.Equal(t, start.Add(time.Minute), h.last("a1"))
	h.note([]string{"a1"}, seen(theirs.Add(-time.Hour)), start.Add(2*time.Minute))
	require.Equal(t, start.Add(2*time.Minute), h.last("a1"), "it polls a node with another clock")
	h.note([]string{"a1"}, seen(start.Add(time.Hour)), start.Add(3*time.Minute))
	h.note([]string{"a1"}, seen(start.Add(time.Hour)), start.Add(4*time.Minute))
	require.Equal(t, start.Add(4*time.Minute), h.last("a1"), "a clock that is ahead would hide the others'")
	h.note(nil, nil, start.Add(time.Minute))
	require.Empty(t, h.of)
}
