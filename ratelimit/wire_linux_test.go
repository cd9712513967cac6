package ratelimit

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/bench/row"
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

const (
	// settling is what buffers take at once; span is how long a cap may be
	// missed at most, and sampling how often that is looked at.
	settling = 2 * time.Second
	span     = 5 * time.Second
	sampling = 250 * time.Millisecond
)

// sample is what had crossed an interface at a moment.
type sample struct {
	at    time.Time
	bytes int64
}

// watch samples one direction of the interface for a while.
func (w *wire) watch(t *testing.T, up bool, d time.Duration) (seen []sample) {
	t.Helper()
	ticker := time.NewTicker(sampling)
	defer ticker.Stop()
	for start := time.Now(); len(seen) == 0 || time.Since(start) < d; <-ticker.C {
		at, rx, tx, err := netlab.Dated(w.host.Counters)
		require.NoError(t, err)
		if up {
			rx = tx
		}
		seen = append(seen, sample{at, rx})
	}
	return seen
}

// extremes returns the lowest and the highest rate of all windows, by the cap.
func extremes(seen []sample, limit api.Rate) (low, high float64) {
	low = math.Inf(1)
	for i, from := range seen {
		for _, to := range seen[i:] {
			if took := to.at.Sub(from.at); took >= span {
				got := float64(to.bytes-from.bytes) / took.Seconds() / limit.BytesPerSecond()
				low, high = min(low, got), max(high, got)
				break
			}
		}
	}
	return low, high
}

// flow lets as much as a bucket admits cross the interface until the test ends.
func (w *wire) flow(up bool, b *Bucket) {
	from, to := net.Conn(w.here), w.far
	if up {
		w.here.Limit(nil, []*Bucket{b})
	} else {
		w.here.Limit([]*Bucket{b}, nil)
		from, to = w.far, w.here
	}
	go func() { _, _ = io.Copy(from, endless{}) }()
	go func() { _, _ = io.Copy(io.Discard, to) }()
}

// requireCap checks every window of what was seen.
func requireCap(t *testing.T, seen []sample, limit api.Rate) (low, high float64) {
	t.Helper()
	low, high = extremes(seen, limit)
	t.Logf("%s: %.1f to %.1f %% of the cap over any %s", limit, low*100, high*100, span)
	require.GreaterOrEqual(t, low, 0.93, "%+v", seen)
	require.LessOrEqual(t, high, 1.01, "%+v", seen)
	return low, high
}

func TestCapsHoldOnTheWire(t *testing.T) {
	var mu sync.Mutex
	lowest, highest := math.Inf(1), 0.0
	t.Run("all", func(t *testing.T) {
		for _, up := range []bool{true, false} {
			for _, limit := range []api.Rate{1_000_000, 8_000_000, 50_000_000} {
				t.Run(fmt.Sprintf("up=%v/%s", up, limit), func(t *testing.T) {
					t.Parallel()
					w := newWire(t)
					w.flow(up, NewBucket(limit))
					w.watch(t, up, settling)
					low, high := requireCap(t, w.watch(t, up, 2*span), limit)
					mu.Lock()
					defer mu.Unlock()
					lowest, highest = min(lowest, low), max(highest, high)
				})
			}
		}
	})
	require.NoError(t, row.Add("lowest share of the cap", 100*lowest, "%", "≥ 93"))
	require.NoError(t, row.Add("highest share of the cap", 100*highest, "%", "≤ 101"))
}

func TestNewCapTakesHoldOnTheWire(t *testing.T) {
	for _, up := range []bool{true, false} {
		for _, change := range [][2]api.Rate{{20_000_000, 2_000_000}, {2_000_000, 20_000_000}} {
			t.Run(fmt.Sprintf("up=%v/%s to %s", up, change[0], change[1]), func(t *testing.T) {
				t.Parallel()
				w := newWire(t)
				b := NewBucket(change[0])
				w.flow(up, b)
				w.watch(t, up, settling)
				b.SetRate(change[1])
				w.watch(t, up, settling)
				requireCap(t, w.watch(t, up, span+2*sampling), change[1])
			})
		}
	}
}

// endless is zeroes without end, in parts of 16 KiB.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return min(len(p), 16<<10), nil }
