package api

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTryIDs(t *testing.T) {
	for try, id := range map[int]string{1: "r1:a1", 2: "r1:a1:2", 20: "r1:a1:20"} {
		require.Equal(t, id, TryID("r1", "a1", try))
		rollout, agent, got, ok := SplitTryID(id)
		require.True(t, ok)
		require.Equal(t, []any{"r1", "a1", try}, []any{rollout, agent, got})
	}
	for _, bad := range []string{"", "r1", "r1:", ":a1", "r1:a1:", "r1:a1:1", "r1:a1:02", "r1:a1:-2", "r1:a1:2:2", "r1:a1:x"} {
		_, _, _, ok := SplitTryID(bad)
		require.False(t, ok, bad)
	}
}

func TestWindows(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		require.NoError(t, err)
		return v
	}
	for _, c := range []struct {
		window, at string
		open       bool
	}{
		{"mon-fri 09:00-17:00", "2026-03-02T09:00:00Z", true}, // a Monday
		{"mon-fri 09:00-17:00", "2026-03-02T17:00:00Z", false},
		{"mon-fri 09:00-17:00", "2026-03-01T12:00:00Z", false}, // a Sunday
		{"fri-mon 00:00-24:00", "2026-03-01T23:59:59Z", true},
		{"sun 22:00-04:00", "2026-03-02T03:59:00Z", true}, // of the day before
		{"sun 22:00-04:00", "2026-03-01T03:59:00Z", false},
		{"sun 22:00-04:00", "2026-03-02T04:00:00Z", false},
		{"daily 22:00-23:00 America/New_York", "2026-03-02T03:30:00Z", true},
		{"daily 22:00-23:00 America/New_York", "2026-03-02T22:30:00Z", false},
		// The night on which Berlin's clocks go forward: 02:30 does not exist.
		{"sun 02:00-04:00 Europe/Berlin", "2026-03-29T00:59:00Z", false},
		{"sun 02:00-04:00 Europe/Berlin", "2026-03-29T01:00:00Z", true},
		{"sun 02:00-04:00 Europe/Berlin", "2026-03-29T02:00:00Z", false},
	} {
		w, err := ParseWindow(c.window)
		require.NoError(t, err, c.window)
		require.Equal(t, c.open, w.Open(at(c.at)), "%s at %s", c.window, c.at)
		again, err := ParseWindow(w.String())
		require.NoError(t, err)
		require.Equal(t, w, again)
	}
	for _, bad := range []string{"", "mon", "mon 9-17", "someday 09:00-17:00", "mon 09:00-25:00", "mon 09:00-17:00 Mars/Base", "mon 09:00-17:00 Local", "mon 09:60-17:00"} {
		_, err := ParseWindow(bad)
		require.Equal(t, CodeInvalid, CodeOf(err), bad)
	}
	require.True(t, WindowsOpen(nil, time.Time{}))
}

func TestGates(t *testing.T) {
	free, load, yes, no, charge := int64(10<<20), 150, true, false, 40
	r := &Readiness{DiskFree: &free, LoadPercent: &load, OnBattery: &yes, Battery: &charge, PackageLock: &no}
	for _, c := range []struct {
		gates   Gates
		payload int64
		open    bool
	}{
		{Gates{}, 0, true},
		{Gates{}, 5 << 20, true},
		{Gates{}, 5<<20 + 1, false},
		{Gates{DiskFree: 10 << 20}, 0, true},
		{Gates{DiskFree: 10 << 20}, 1, false},
		{Gates{LoadPercent: 150}, 0, true},
		{Gates{LoadPercent: 149}, 0, false},
		{Gates{Power: true}, 0, false},
		{Gates{Power: true, Battery: 40}, 0, true},
		{Gates{Power: true, Battery: 41}, 0, false},
		{Gates{PackageLock: true}, 0, true},
	} {
		require.Equal(t, c.open, c.gates.Closed(r, c.payload) == "", "%+v: %s", c.gates, c.gates.Closed(r, c.payload))
	}
	require.Empty(t, Gates{}.Closed(nil, 0))
	require.NotEmpty(t, Gates{PackageLock: true}.Closed(nil, 0), "what is asked for and unknown is closed")
	require.Contains(t, Gates{}.Closed(&Readiness{Blocked: []Blocked{{"window", "opens at 22:00"}}}, 0), "window: opens at 22:00")
	require.Contains(t, Gates{}.Closed(&Readiness{Degraded: "disk broken"}, 0), "disk broken")
}

func TestTrimLog(t *testing.T) {
	long := make([]byte, 3*MaxOutput)
	for i := range long {
		long[i] = 'a' + byte(i%26)
	}
	l := &ExecutionLog{Stdout: string(long), Stderr: "fin", Steps: make([]Step, 2*MaxSteps)}
	got := l.Trim(false)
	require.Equal(t, string(long[2*MaxOutput:]), got.Stdout)
	require.Equal(t, "fin", got.Stderr)
	require.True(t, got.Cut)
	require.Len(t, got.Steps, MaxSteps)
	require.Len(t, l.Trim(true).Stdout, MaxOutputSuccess)
	require.Nil(t, (*ExecutionLog)(nil).Trim(true))
}

func FuzzParseWindow(f *testing.F) {
	f.Add("mon-fri 22:00-04:00 Europe/Berlin")
	f.Add("daily 00:00-24:00")
	f.Fuzz(func(t *testing.T, s string) {
		w, err := ParseWindow(s)
		if err != nil {
			return
		}
		again, err := ParseWindow(w.String())
		require.NoError(t, err, s)
		require.Equal(t, w, again)
		w.Open(time.Unix(0, 0))
	})
}

func FuzzSplitTryID(f *testing.F) {
	f.Add("r1:a1:2")
	f.Fuzz(func(t *testing.T, id string) {
		if rollout, agent, try, ok := SplitTryID(id); ok {
			require.Equal(t, id, TryID(rollout, agent, try))
			require.LessOrEqual(t, len(rollout)+len(agent), 2*MaxIDLength)
		}
	})
}
