package agent

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/agent/yield"
	"redflag/api"
	"redflag/bench/row"
	"redflag/netlab"
)

// TestYieldOnTheWire shares a link of 20 Mbit/s between a transfer of four
// connections and one foreground connection, first without and then with
// agent.yield, and compares what the foreground gets.
func TestYieldOnTheWire(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for a minute")
	}
	t.Parallel()
	const (
		connections = 4
		settling    = 12 * time.Second
		measured    = 10 * time.Second
	)
	lab, err := netlab.New()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	hub, err := lab.Switch(nil, netlab.Link{})
	require.NoError(t, err)
	source, err := hub.Host(netlab.Link{Up: 200_000_000, Down: 200_000_000})
	require.NoError(t, err)
	host, err := hub.Host(netlab.Link{Up: 20_000_000, Down: 20_000_000})
	require.NoError(t, err)
	serveEndless(t, source)
	echo := roundTripper(t, host, source)

	set := func(l *limits, on string) {
		l.apply(api.NewAgentSettings(api.Settings{Values: map[api.SettingKey]string{api.SettingAgentYield: on}}))
	}
	l := newLimits(&Config{Logger: hclog.NewNullLogger()})
	set(l, "true")
	go func() {
		_ = yield.Run(t.Context(), yield.Link{
			On: l.yields, Own: l.moved, RTT: echo, Set: l.yield,
			Interface: func() (string, yield.Bytes, error) {
				in, out, err := host.Counters()
				return "eth0", yield.Bytes{Down: in, Up: out}, err
			},
		})
	}()
	// What a round trip takes while the link is idle is known before it is not.
	time.Sleep(5 * time.Second)
	set(l, "false")
	for range connections {
		takeEndless(t, host, source, l)
	}
	time.Sleep(settling / 4)
	stop, foreground := takeForeground(t, host, source)
	mean := func() float64 {
		before := foreground()
		time.Sleep(measured)
		return float64(foreground()-before) / measured.Seconds()
	}
	without := mean()
	set(l, "true")
	time.Sleep(settling)
	with := mean()
	held := l.download.Rate()
	stop()

	own := l.moved().Down
	time.Sleep(settling)
	back := func() float64 {
		own = l.moved().Down
		time.Sleep(measured)
		return float64(l.moved().Down-own) / measured.Seconds()
	}()
	const link = 20_000_000 / 8
	t.Logf("of the link a foreground connection gets %.0f %% without yielding and %.0f %% with it, %.1f times as much; the transfer is held at %s, and has %.0f %% once it is alone",
		100*without/link, 100*with/link, with/without, held, 100*back/link)
	// What it gets without is how five TCP connections happen to share: from a
	// quarter of the link to 70 %.
	require.Greater(t, with/link, 0.7)
	require.Greater(t, with, without)
	require.Positive(t, held, "there is a cap")
	require.Greater(t, back, 0.6*link, "the transfer comes back")
	require.NoError(t, row.Add("foreground's share of the link with agent.yield", with/link, "of the link", "≥ 0.7"))
}

// takeForeground reads without caps until stop, and counts.
func takeForeground(t *testing.T, on, from *netlab.Host) (stop func(), count func() int64) {
	t.Helper()
	l := newLimits(&Config{Logger: hclog.NewNullLogger()}) // counts, and caps nothing
	ctx, cancel := context.WithCancel(t.Context())
	takeEndlessUntil(ctx, t, on, from, l)
	return cancel, l.download.Passed
}

// roundTripper returns a way to measure a round trip between two hosts.
func roundTripper(t *testing.T, on, to *netlab.Host) func(context.Context) (string, time.Duration, error) {
	t.Helper()
	var l net.Listener
	require.NoError(t, to.Do(func() (err error) {
		l, err = net.Listen("tcp", to.IP+":7001")
		return err
	}))
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
		}
	}()
	var c net.Conn
	require.NoError(t, on.Do(func() (err error) {
		c, err = net.Dial("tcp", to.IP+":7001")
		return err
	}))
	t.Cleanup(func() { _ = c.Close() })
	return func(context.Context) (string, time.Duration, error) {
		began := time.Now()
		b := []byte{1}
		if _, err := c.Write(b); err != nil {
			return "", 0, err
		}
		_, err := io.ReadFull(c, b)
		return to.IP, time.Since(began), err
	}
}
