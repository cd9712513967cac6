package yield

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// link is one direction of an access link that the transfer shares with a
// foreground flow. Rates are in bytes per second.
type link struct {
	c          Controller
	now        time.Time
	capacity   float64
	flows      float64 // of the transfer; the foreground has one
	foreground float64 // what it asks for
	queue      time.Duration
	own, all   float64
	blind      bool // no interface counters
	deaf       bool // no round trips
	idle       bool // there is nothing to transfer
	elsewhere  bool // the foreground is another machine's

	mine, theirs float64 // in the last second
	caps         Caps
}

func newLink() *link {
	return &link{now: time.Unix(1_800_000_000, 0), capacity: 2_500_000, flows: 4, queue: 50 * time.Millisecond}
}

// settle lets the link be idle, so that its base delay is known, and then busy.
func (l *link) settle() (mine float64) {
	l.idle = true
	l.run(recent)
	l.idle = false
	mine, _ = l.run(60)
	return mine
}

// run lets seconds pass and returns the mean rates of both.
func (l *link) run(seconds int) (mine, theirs float64) {
	for range seconds {
		l.second()
		mine += l.mine / float64(seconds)
		theirs += l.theirs / float64(seconds)
	}
	return mine, theirs
}

func (l *link) second() {
	most := l.capacity
	if l.caps.Down > 0 {
		most = min(most, l.caps.Down.BytesPerSecond())
	}
	fair := l.capacity * l.flows / (l.flows + 1)
	l.mine = min(most, max(fair, l.capacity-l.foreground))
	if l.idle {
		l.mine = 0
	}
	l.theirs = min(l.foreground, l.capacity-l.mine)
	rtt := 10 * time.Millisecond
	if l.mine+l.theirs >= 0.99*l.capacity {
		rtt += l.queue
	}
	l.now = l.now.Add(time.Second)
	l.own += l.mine
	l.all += l.mine
	if !l.elsewhere {
		l.all += l.theirs
	}
	s := Sample{At: l.now, RTT: rtt, Own: Bytes{Down: int64(l.own)}, All: Bytes{Down: int64(l.all)}}
	if l.blind {
		s.All = s.Own
	}
	if l.deaf {
		s.RTT = 0
	}
	l.caps = l.c.Step(s)
}

func TestAForegroundFlowGetsTheLinkAndGivesItBack(t *testing.T) {
	for name, change := range map[string]func(*link){
		"round trip and interface":    func(*link) {},
		"round trip alone":            func(l *link) { l.blind = true },
		"interface alone":             func(l *link) { l.deaf = true },
		"a link without queues":       func(l *link) { l.queue = 0 },
		"a foreground on another box": func(l *link) { l.elsewhere = true },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLink()
			change(l)
			require.Greater(t, l.settle(), 0.85*l.capacity, "nobody is in the way")

			l.foreground = l.capacity
			l.run(20)
			mine, theirs := l.run(60)
			t.Logf("the foreground gets %.0f %% of the link, and 20 %% without yielding", 100*theirs/l.capacity)
			require.Greater(t, theirs, 0.6*l.capacity)
			require.GreaterOrEqual(t, mine, floorShare*l.capacity*0.9, "it never starves")

			l.foreground = 0
			l.run(30)
			back, _ := l.run(30)
			require.Greater(t, back, 0.85*l.capacity, "it comes back")
		})
	}
}

func TestALinkWithRoomIsUsed(t *testing.T) {
	l := newLink()
	l.settle()
	l.foreground = l.capacity / 4 // a film
	l.run(30)
	mine, theirs := l.run(60)
	t.Logf("the film gets %.0f %% of what it asks for, the transfer %.0f %% of the link", 100*theirs/l.foreground, 100*mine/l.capacity)
	require.Greater(t, theirs, 0.95*l.foreground, "the film runs")
	require.Greater(t, mine, 0.2*l.capacity, "and the rest is not left idle")
}

func TestAnIdleMachineHasNoCaps(t *testing.T) {
	var c Controller
	now := time.Unix(1_800_000_000, 0)
	for i := range 100 {
		require.Equal(t, Caps{}, c.Step(Sample{At: now.Add(time.Duration(i) * time.Second)}))
	}
}

// Whatever is counted, and whichever way clocks and counters go, a cap is never
// below the floor.
func TestTheFloorHolds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var c Controller
		var s Sample
		s.At = time.Unix(1_800_000_000, 0)
		for range 200 {
			s.At = s.At.Add(time.Duration(rnd.IntN(3000)-200) * time.Millisecond)
			s.Own.Down += rnd.Int64N(10_000_000)
			s.All.Down += rnd.Int64N(20_000_000) - 1_000_000
			s.All.Up += rnd.Int64N(1000)
			s.RTT = time.Duration(rnd.Int64N(int64(2 * time.Second)))
			caps := c.Step(s)
			for _, r := range []api.Rate{caps.Down, caps.Up} {
				require.True(t, r == api.Unlimited || r >= leastRate, "%s", r)
			}
		}
	}
}

// A node that is farther away is no queue.
func TestAnotherNodeIsMeasuredAnew(t *testing.T) {
	var c Controller
	s := Sample{At: time.Unix(1_800_000_000, 0)}
	for i := range 40 {
		s.At = s.At.Add(time.Second)
		s.Own.Up += 125_000
		s.All = s.Own
		s.To, s.RTT = "near", 5*time.Millisecond
		if i >= 20 {
			s.To, s.RTT = "far", 80*time.Millisecond
		}
		require.Equal(t, Caps{}, c.Step(s))
	}
}

// A round trip that takes longer than it is waited for says that the queue is long.
func TestAQueueThatOutlastsTheProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		began, probes, least, last := time.Now(), 0, Caps{}, Caps{}
		require.NoError(t, Run(ctx, Link{
			On: func() bool { return true },
			Own: func() Bytes {
				return Bytes{Up: int64(time.Since(began).Seconds() * 125_000)}
			},
			Interface: func() (string, Bytes, error) { return "", Bytes{}, errors.New("not told") },
			RTT: func(ctx context.Context) (string, time.Duration, error) {
				if probes++; probes <= recent {
					return "n1", 50 * time.Millisecond, nil
				}
				<-ctx.Done()
				return "n1", 0, ctx.Err()
			},
			Set: func(c Caps) {
				last = c
				if c.Up > 0 && (least.Up == 0 || c.Up < least.Up) {
					least = c
				}
			},
		}))
		require.Positive(t, least.Up)
		require.Less(t, least.Up, api.Rate(500_000))
		require.Equal(t, Caps{}, last, "a node that never answers is no queue")
	})
}

func TestBaseDelayIsForgotten(t *testing.T) {
	var d delays
	now := time.Unix(1_800_000_000, 0)
	d.add(5*time.Millisecond, now)
	for i := range 12 * 60 { // the way is longer from now on
		now = now.Add(time.Second)
		d.add(80*time.Millisecond, now)
		if i == 60 {
			queued, ok := d.queued(now)
			require.True(t, ok)
			require.Equal(t, 75*time.Millisecond, queued)
		}
	}
	queued, ok := d.queued(now)
	require.True(t, ok)
	require.Zero(t, queued)
	_, ok = d.queued(now.Add(time.Minute))
	require.False(t, ok, "old samples say nothing")
}
