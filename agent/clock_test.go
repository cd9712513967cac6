package agent

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The lower bound follows the earlier of two clocks: neither this machine's nor a
// node's can push it into a future that is none.
func TestClockFollowsTheEarlierOfTwo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clock.json")
	c, err := openClock(path)
	require.NoError(t, err)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	c.wall = func() time.Time { return now }
	require.NoError(t, c.keep(now))

	right := now
	now = now.Add(72 * time.Hour) // it leaps ahead for one poll
	require.NoError(t, c.keep(right.Add(time.Minute)))
	now = right.Add(2 * time.Minute)
	require.Equal(t, now, c.now())
	require.NoError(t, c.keep(now.Add(72*time.Hour)), "a node's does")
	require.Equal(t, now, c.now())

	c, err = openClock(path)
	require.NoError(t, err)
	c.wall = func() time.Time { return right.Add(-time.Hour) }
	require.Equal(t, now, c.now(), "it never goes back, across restarts")
	require.NoError(t, c.keep(right.Add(-time.Hour)))
	require.Equal(t, now, c.now())
}
