package api_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestScheduleAt(t *testing.T) {
	s, err := api.ParseSchedule("mon-fri 08:00-18:00 Europe/Berlin down=2mbit up=1mbit; sat,sun 22:00-24:00 Europe/Berlin down=8mbit")
	require.NoError(t, err)
	for when, want := range map[string][2]api.Rate{
		"2026-07-06T05:59:59Z": {0, 0}, // a Monday; Berlin is two hours ahead
		"2026-07-06T06:00:00Z": {2e6, 1e6},
		"2026-07-06T15:59:59Z": {2e6, 1e6},
		"2026-07-06T16:00:00Z": {0, 0},
		"2026-01-05T06:30:00Z": {0, 0}, // and one hour in winter
		"2026-01-05T07:00:00Z": {2e6, 1e6},
		"2026-01-10T22:59:59Z": {8e6, 0}, // a Saturday
		"2026-01-10T23:00:00Z": {0, 0},
	} {
		at, err := time.Parse(time.RFC3339, when)
		require.NoError(t, err)
		down, up := s.At(at)
		require.Equal(t, want, [2]api.Rate{down, up}, when)
	}
}

func TestScheduleRefuses(t *testing.T) {
	for _, bad := range []string{
		"mon", "mon 08:00 down=1mbit", "foo 08:00-18:00 down=1mbit",
		"mon 08:00-25:00 down=1mbit", "mon 08:00-18:00 left=1mbit", "mon 08:00-18:00 down=fast", "mon 08:00-18:00 Nowhere/AtAll down=1mbit", "mon 08:00-18:00",
	} {
		_, err := api.ParseSchedule(bad)
		require.Error(t, err, bad)
	}
}

func FuzzParseSchedule(f *testing.F) {
	f.Add("mon-fri 08:00-18:00 UTC down=2mbit up=1mbit; daily 18:00-08:00 up=1mbit")
	f.Add("sat-tue 00:00-24:00 up=unlimited")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := api.ParseSchedule(text)
		if err != nil {
			return
		}
		again, err := api.ParseSchedule(s.String())
		require.NoError(t, err)
		now := time.Unix(1_800_000_000, 0)
		down, up := s.At(now)
		down2, up2 := again.At(now)
		require.Equal(t, []api.Rate{down, up}, []api.Rate{down2, up2})
	})
}
