package yield

import (
	"context"
	"time"
)

const (
	// interval is the time between two samples.
	interval = time.Second
	// awake is how long after the last byte of the transfer round trips are
	// measured with each sample. An idle machine asks rarely, so that it knows
	// what a round trip takes when its transfer fills no queue.
	awake     = 30 * time.Second
	idleProbe = time.Minute
	// mostUnanswered is how many probes in a row may run out of time and count. By
	// then a queue would have drained: it is the node that does not answer.
	mostUnanswered = 3 * recent
)

// Link is where a transfer runs.
type Link struct {
	// On reports whether to yield at all; while it is off there are no caps.
	On func() bool
	// Own returns the bytes of the transfer so far, as on the wire.
	Own func() Bytes
	// Interface returns the interface that is used, and what crossed it. An
	// error leaves the round trip to decide.
	Interface func() (name string, all Bytes, err error)
	// RTT measures a round trip over the link, and says to whom. An error is no
	// sample, unless time has run out while the transfer moved.
	RTT func(context.Context) (to string, took time.Duration, err error)
	// Set puts caps in force.
	Set func(Caps)
}

// Run samples a link and sets caps until ctx ends.
func Run(ctx context.Context, l Link) error {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	c, capped := &Controller{}, Caps{}
	set := func(caps Caps) {
		if caps != capped {
			capped = caps
			l.Set(caps)
		}
	}
	unanswered := 0 // probes in a row for which time ran out
	var moved, asked time.Time
	var last Bytes
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if !l.On() {
			set(Caps{})
			c, moved, asked, last = &Controller{delay: c.delay, to: c.to}, time.Time{}, time.Time{}, l.Own()
			continue
		}
		s := Sample{Own: l.Own()}
		if s.Own != last {
			moved, last = time.Now(), s.Own
		}
		if time.Since(moved) < awake || time.Since(asked) >= idleProbe {
			asked = time.Now()
			asking, cancel := context.WithTimeout(ctx, interval)
			to, rtt, err := l.RTT(asking)
			switch {
			case err == nil:
				s.RTT, s.To, unanswered = rtt, to, 0
			case asking.Err() != nil && time.Since(moved) < 2*interval && unanswered < mostUnanswered:
				s.RTT, s.To = interval, to // the queue is longer than that
				unanswered++
			}
			cancel()
		}
		s.At, s.Own = time.Now(), l.Own()
		name, all, err := l.Interface()
		if err != nil {
			all = s.Own
		}
		s.InterfaceName, s.All = name, all
		set(c.Step(s))
	}
}
