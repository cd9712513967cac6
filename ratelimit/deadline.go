package ratelimit

import (
	"sync"
	"time"
)

// deadline closes a channel at a time that may be moved. Moving it is cheap, for
// some callers do so with every read: before the first wait there is no timer.
type deadline struct {
	mu      sync.Mutex
	at      time.Time // zero is never
	waited  bool
	timer   *time.Timer
	expired chan struct{}
	passed  bool // expired is closed
}

func newDeadline() *deadline { return &deadline{expired: make(chan struct{})} }

// wait returns a channel that is closed when the deadline has passed.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.waited {
		d.waited = true
		d.arm()
	}
	return d.expired
}

// set moves the deadline to t; the zero time is never.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = t
	if d.waited {
		d.arm()
	}
}

// arm needs mu.
func (d *deadline) arm() {
	if d.passed {
		d.expired, d.passed = make(chan struct{}), false
	}
	left := time.Until(d.at)
	switch {
	case d.at.IsZero() && d.timer != nil:
		d.timer.Stop()
	case d.at.IsZero():
	case left <= 0:
		d.expire()
	case d.timer == nil:
		d.timer = time.AfterFunc(left, d.fire)
	default:
		d.timer.Reset(left)
	}
}

// fire runs when the timer goes off. The deadline may have been moved since.
func (d *deadline) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.at.IsZero() && time.Until(d.at) <= 0 {
		d.expire()
	}
}

func (d *deadline) expire() {
	if !d.passed {
		d.passed = true
		close(d.expired)
	}
}
