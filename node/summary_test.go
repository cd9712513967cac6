package node

import (
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// TestSummaryCountsNobodyTwice: an agent that moved from one node to another is
// heard by both for a while.
func TestSummaryCountsNobodyTwice(t *testing.T) {
	s := summary(map[string]int{"eu": 2, "ap": 1}, heard{
		"eu":   {api.ActivityIdle: 2, api.ActivityDownloading: 1},
		"mars": {api.ActivityIdle: 5}, // removed a moment ago
	})
	require.Equal(t, 3, s.Agents)
	require.Equal(t, 2, s.Online)
	require.Equal(t, "ap", s.Regions[0].Region)
	require.Zero(t, s.Regions[0].Online)
	require.Equal(t, 2, s.Regions[1].Online)
	require.NotNil(t, summary(nil, nil).Regions, "JSON wants a list")
}
