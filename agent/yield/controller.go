package yield

import (
	"math"
	"time"

	"redflag/api"
)

const (
	// target is how much queueing the own traffic may cause. It is less than
	// the 100 ms of RFC 6817: the queues of home routers hold little more.
	target = 20 * time.Millisecond
	// gain is how much of a cap one step takes while the round trip is over the
	// target by as much again and others use the interface. Without them the
	// queue is the own one, or that of another machine: then it takes aloneGain.
	gain, aloneGain = 0.5, 0.2
	// shortGain is what is taken when the link gives less than is asked for.
	shortGain = 0.75
	// history is how many minutes a base delay is remembered, and recent how
	// many samples the current one is the least of (RFC 6817, 4.2).
	history = 10
	recent  = 4

	// busy is the share of the busiest rate lately from which the others'
	// traffic counts, and full that from which the link counts as full.
	busy = 0.1
	full = 0.8
	// starved is the share of the own cap below which the link gives less than
	// is asked for.
	starved = 0.8
	// climb is the growth in a second without contention. While others use the
	// link it is tried after hold only.
	climb = 1.3
	hold  = 20 * time.Second
	// forget is how much of the busiest rate is left after a second without it.
	forget = 0.999

	// floorShare of the busiest rate is always left to the transfer, and
	// leastRate at any rate.
	floorShare          = 0.05
	leastRate  api.Rate = 64_000
)

// Sample is what was counted up to a moment. Counters only grow, in bytes.
type Sample struct {
	At            time.Time
	Own, All      Bytes         // of the transfer, and of all that crossed the interface
	RTT           time.Duration // round trip just measured; 0 for none
	To            string        // whom it was measured to
	InterfaceName string        // a change starts the counts anew
}

// Bytes counts both directions.
type Bytes struct{ Down, Up int64 }

// Caps is what the transfer may use; zero is unlimited.
type Caps struct{ Down, Up api.Rate }

// Controller turns samples into caps. The zero value is ready; it is for one
// goroutine.
type Controller struct {
	last     Sample
	delay    delays
	to       string // whom delay is of
	down, up direction
}

// Step takes the next sample, about a second after the one before, and returns
// the caps from now on.
func (c *Controller) Step(s Sample) Caps {
	prev := c.last
	c.last = s
	if s.RTT > 0 {
		if s.To != c.to { // farther away is no queue
			c.delay, c.to = delays{}, s.To
		}
		c.delay.add(s.RTT, s.At)
	}
	took := s.At.Sub(prev.At)
	if prev.At.IsZero() || took <= 0 || prev.InterfaceName != s.InterfaceName {
		return Caps{c.down.limit(), c.up.limit()}
	}
	queued, known := c.delay.queued(s.At)
	c.down.step(s.Own.Down-prev.Own.Down, s.All.Down-prev.All.Down, took, queued, known)
	c.up.step(s.Own.Up-prev.Own.Up, s.All.Up-prev.All.Up, took, queued, known)
	return Caps{c.down.limit(), c.up.limit()}
}

// direction is one way of the link. Rates are in bytes per second.
type direction struct {
	cap   float64 // 0 for none
	peak  float64 // the busiest rate lately
	quiet time.Duration
}

func (d *direction) limit() api.Rate { return api.Rate(d.cap * 8) }

func (d *direction) floor() float64 {
	return max(floorShare*d.peak, leastRate.BytesPerSecond())
}

func (d *direction) step(own, all int64, took, queued time.Duration, known bool) {
	seconds := took.Seconds()
	mine := max(0, float64(own)) / seconds
	total := max(mine, float64(all)/seconds)
	others := total - mine
	d.peak = max(total, d.peak*math.Pow(forget, seconds))

	crowded := others >= busy*d.peak
	short := crowded && total >= full*d.peak && mine > d.floor() && (d.cap == 0 || mine < starved*d.cap)
	late := known && queued >= target && (crowded || mine > d.floor())
	switch {
	case late:
		g := gain
		if !crowded {
			g = aloneGain
		}
		d.lower(mine, 1-g*min(1, float64(queued)/float64(2*target)))
	case short:
		d.lower(mine, 1-shortGain)
	default:
		d.quiet += took
		d.raise(seconds, crowded)
	}
}

// lower takes a part of what is used, or of the cap if that is less.
func (d *direction) lower(mine, factor float64) {
	d.quiet = 0
	from := max(mine, d.floor())
	if d.cap > 0 {
		from = min(d.cap, from)
	}
	d.cap = max(from*factor, d.floor())
}

// raise gives back, soon when nobody else is there.
func (d *direction) raise(seconds float64, crowded bool) {
	if crowded && d.quiet < hold {
		return
	}
	d.cap *= math.Pow(climb, seconds)
	if d.cap > 2*d.peak { // it would hold nothing back
		d.cap = 0
	}
}

// delays are round trips: the least of each minute, and the latest.
type delays struct {
	minutes [history]time.Duration
	minute  int64
	latest  [recent]time.Duration
	n       int
	at      time.Time
}

func (d *delays) add(rtt time.Duration, now time.Time) {
	minute := now.Unix() / 60
	if d.n == 0 || minute-d.minute >= history {
		d.minutes = [history]time.Duration{}
		d.minute = minute
	}
	for ; d.minute < minute; d.minute++ {
		d.minutes[(d.minute+1)%history] = 0
	}
	if m := &d.minutes[minute%history]; *m == 0 || rtt < *m {
		*m = rtt
	}
	d.latest[d.n%recent] = rtt
	d.n++
	d.at = now
}

// queued returns how much longer a round trip takes than it would in an empty
// network. It is not known when none was measured for a while.
func (d *delays) queued(now time.Time) (time.Duration, bool) {
	if d.n < recent || now.Sub(d.at) > recent*time.Second {
		return 0, false
	}
	base, current := time.Duration(0), d.latest[0]
	for _, m := range d.minutes {
		if m > 0 && (base == 0 || m < base) {
			base = m
		}
	}
	for _, l := range d.latest {
		current = min(current, l)
	}
	return current - base, true
}
