package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/netlab"
	"redflag/ratelimit"
)

// TestSiteBudgetHoldsOnTheWire divides the cap of a site among six agents that
// come one after the other, and looks at the cable that they share.
func TestSiteBudgetHoldsOnTheWire(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for a quarter of a minute")
	}
	t.Parallel()
	const (
		agents   = 6
		total    = api.Rate(20_000_000)
		renewal  = 500 * time.Millisecond
		lease    = 5 * renewal / 2
		span     = 5 * time.Second
		sampling = 250 * time.Millisecond
	)
	lab, err := netlab.New()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	wide := netlab.Link{Up: 200_000_000, Down: 200_000_000}
	hub, err := lab.Switch(nil, netlab.Link{})
	require.NoError(t, err)
	site, err := lab.Switch(hub, wide)
	require.NoError(t, err)
	source, err := hub.Host(wide)
	require.NoError(t, err)
	serveEndless(t, source)

	budget := ratelimit.NewBudget()
	settings := api.NewAgentSettings(api.Settings{Values: map[api.SettingKey]string{api.SettingSiteDownload: total.String()}})
	var away atomic.Bool // the last agent falls silent
	for i := range agents {
		host, err := site.Host(wide)
		require.NoError(t, err)
		l := newLimits(&Config{Logger: hclog.NewNullLogger()})
		l.apply(settings)
		takeEndless(t, host, source, l)
		go func() {
			time.Sleep(time.Duration(i) * renewal / 2) // one comes after the other
			for t.Context().Err() == nil && (i < agents-1 || !away.Load()) {
				asked := time.Now()
				share := budget.Lease("site", fmt.Sprint(i), total, lease, asked)
				l.lease(api.Lease{Download: share, For: api.Duration(lease)}, asked)
				time.Sleep(renewal)
			}
		}()
		go func() { _ = l.run(t.Context()) }()
	}

	type sample struct {
		at    time.Time
		bytes int64
	}
	var seen []sample
	watch := func(d time.Duration) {
		for start := time.Now(); time.Since(start) < d; time.Sleep(sampling) {
			at, in, _, err := netlab.Dated(site.Counters)
			require.NoError(t, err)
			seen = append(seen, sample{at, in})
		}
	}
	last := func() float64 {
		to := seen[len(seen)-1]
		for i := len(seen) - 1; ; i-- {
			if took := to.at.Sub(seen[i].at); took >= span {
				return float64(to.bytes-seen[i].bytes) / took.Seconds() / total.BytesPerSecond()
			}
		}
	}
	watch(agents*renewal/2 + 2*lease + span)
	all := last()
	away.Store(true)
	watch(2*lease + span)
	rest := last()
	t.Logf("six agents use %.1f %% of their site's budget, and the five that stay %.1f %%", all*100, rest*100)
	require.InDelta(t, 0.97, all, 0.05)
	require.InDelta(t, 0.97, rest, 0.05, "what the silent one had is divided again")
	for i, from := range seen {
		for _, to := range seen[i:] {
			if took := to.at.Sub(from.at); took >= span && i > 0 {
				require.LessOrEqual(t, float64(to.bytes-from.bytes)/took.Seconds()/total.BytesPerSecond(), 1.02)
			}
		}
	}
}

// serveEndless sends zeroes to whoever connects.
func serveEndless(t *testing.T, on *netlab.Host) {
	t.Helper()
	var l net.Listener
	require.NoError(t, on.Do(func() (err error) {
		l, err = net.Listen("tcp", on.IP+":7000")
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				zeroes := make([]byte, 16<<10)
				for err == nil {
					_, err = c.Write(zeroes)
				}
			}()
		}
	}()
}

// takeEndless reads under the caps of l until the test ends.
func takeEndless(t *testing.T, on, from *netlab.Host, l *limits) {
	t.Helper()
	takeEndlessUntil(t.Context(), t, on, from, l)
}

// takeEndlessUntil does the same until ctx ends.
func takeEndlessUntil(ctx context.Context, t *testing.T, on, from *netlab.Host, l *limits) {
	t.Helper()
	require.NoError(t, on.Do(func() error {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", from.IP+":7000")
		if err != nil {
			return err
		}
		limited := ratelimit.NewConn(c)
		limited.Limit([]*ratelimit.Bucket{l.download}, nil)
		context.AfterFunc(ctx, func() { _ = limited.Close() })
		go func() { _, _ = io.Copy(io.Discard, limited) }()
		return nil
	}))
}
