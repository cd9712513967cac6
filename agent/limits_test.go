package agent

import (
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/ratelimit"
)

func TestLimitsFollowTheSchedule(t *testing.T) {
	l := newLimits(&Config{Logger: hclog.NewNullLogger(), DownloadLimit: 4_000_000})
	l.apply(api.NewAgentSettings(api.Settings{Values: map[api.SettingKey]string{
		api.SettingAgentDownload: "8mbit",
		api.SettingAgentSite:     "100mbit",
		api.SettingAgentSchedule: "mon-fri 08:00-18:00 UTC down=2mbit up=1mbit",
	}}))
	monday := time.Date(2026, 7, 6, 7, 59, 59, 0, time.UTC)
	l.refresh(monday)
	require.Equal(t, api.Rate(4_000_000), l.download.Rate(), "the machine's own cap is stricter than the cluster's")
	require.Equal(t, api.Unlimited, l.upload.Rate())
	require.Equal(t, api.Rate(100_000_000), l.siteUpload.Rate())
	l.refresh(monday.Add(time.Second))
	require.Equal(t, api.Rate(2_000_000), l.download.Rate())
	require.Equal(t, api.Rate(1_000_000), l.upload.Rate())
	l.refresh(monday.Add(10 * time.Hour))
	require.Equal(t, api.Rate(2_000_000), l.download.Rate(), "still within")
	l.refresh(monday.Add(10*time.Hour + time.Second))
	require.Equal(t, api.Rate(4_000_000), l.download.Rate())
}

func TestScheduleEdgeIsFeltWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	edge := time.Date(2026, 7, 6, 18, 0, 0, 0, time.UTC)
	l := newLimits(&Config{Logger: hclog.NewNullLogger()})
	shift := time.Until(edge.Add(-time.Second))
	l.now = func() time.Time { return time.Now().Add(shift) }
	l.apply(api.NewAgentSettings(api.Settings{Values: map[api.SettingKey]string{
		api.SettingAgentSchedule: "mon-fri 08:00-18:00 UTC down=2mbit; mon-fri 18:00-24:00 UTC down=20mbit",
	}}))
	require.Equal(t, api.Rate(2_000_000), l.download.Rate())
	go func() { _ = l.run(t.Context()) }()
	require.Eventually(t, func() bool { return l.download.Rate() == 20_000_000 }, 10*time.Second, 10*time.Millisecond)
	require.Less(t, l.now().Sub(edge), 2*time.Second)
}

func TestLimitsHoldASiteBudget(t *testing.T) {
	l := newLimits(&Config{Logger: hclog.NewNullLogger()})
	l.apply(api.NewAgentSettings(api.Settings{Values: map[api.SettingKey]string{api.SettingSiteDownload: "20mbit"}}))
	require.Equal(t, ratelimit.Trickle, l.download.Rate(), "without a lease all of it may be another's")
	require.Equal(t, api.Unlimited, l.upload.Rate())
	now := time.Now()
	l.lease(api.Lease{Download: 4_000_000, For: api.Duration(time.Hour)}, now)
	require.Equal(t, api.Rate(4_000_000), l.download.Rate())
	l.refresh(now.Add(time.Hour + time.Second))
	require.Equal(t, ratelimit.Trickle, l.download.Rate(), "nor after it has ended")
}
