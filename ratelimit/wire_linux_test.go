package ratelimit

import (
	"context"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/netlab"
)

// wire is two hosts with one connection between them, and the counters of the
// first one's interface.
type wire struct {
	host *netlab.Host
	here *Conn
	far  net.Conn
}

func newWire(t *testing.T) *wire {
	t.Helper()
	if testing.Short() {
		t.Skip("measures for half a minute")
	}
	lab, err := netlab.New()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	hub, err := lab.Switch(nil, netlab.Link{})
	require.NoError(t, err)
	// A shaped link takes segments apart before they are counted, as a network
	// card does.
	link := netlab.Link{Up: 200_000_000, Down: 200_000_000}
	w := &wire{}
	w.host, err = hub.Host(link)
	require.NoError(t, err)
	other, err := hub.Host(link)
	require.NoError(t, err)
	var l net.Listener
	require.NoError(t, other.Do(func() (err error) {
		l, err = net.Listen("tcp", other.IP+":7000")
		return err
	}))
	defer l.Close()
	require.NoError(t, w.host.Do(func() error {
		c, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", l.Addr().String())
		w.here = NewConn(c)
		return err
	}))
	w.far, err = l.Accept()
	require.NoError(t, err)
	t.Cleanup(func() {
		w.here.Close()
		w.far.Close()
	})
	return w
}

// rate measures what crosses the interface in one direction for a while.
func (w *wire) rate(t *testing.T, up bool, d time.Duration) float64 {
	t.Helper()
	read := func() int64 {
		rx, tx, err := w.host.Counters()
		require.NoError(t, err)
		if up {
			return tx
		}
		return rx
	}
	before, start := read(), time.Now()
	time.Sleep(d) // the measured time itself
	return float64(read()-before) / time.Since(start).Seconds()
}

func TestCapsHoldOnTheWire(t *testing.T) {
	for _, up := range []bool{true, false} {
		for _, limit := range []api.Rate{1_000_000, 8_000_000, 50_000_000} {
			t.Run(fmt.Sprintf("up=%v/%s", up, limit), func(t *testing.T) {
				t.Parallel()
				w := newWire(t)
				b := NewBucket(limit)
				from, to := net.Conn(w.here), w.far
				if up {
					w.here.Limit(nil, []*Bucket{b})
				} else {
					w.here.Limit([]*Bucket{b}, nil)
					from, to = w.far, w.here
				}
				go func() { _, _ = io.Copy(from, endless{}) }()
				go func() { _, _ = io.Copy(io.Discard, to) }()
				w.rate(t, up, 2*time.Second) // what buffers took at once
				window := 5 * time.Second
				if !up && limit == 1_000_000 {
					// The receiver's kernel opens its window in steps of some
					// 60 KB, a tenth of what 5 s bring at this cap.
					window = 25 * time.Second
				}
				got := w.rate(t, up, window) / limit.BytesPerSecond()
				t.Logf("%.1f %% of the cap", got*100)
				require.InDelta(t, 0.97, got, 0.04, "between 93 %% and 101 %% of the cap")
			})
		}
	}
}

// endless is zeroes without end, in parts of 16 KiB.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return min(len(p), 16<<10), nil }
