package ratelimit

import (
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"redflag/api"
)

const (
	// burst is the depth of every limiter in bytes. It is fixed: a limiter
	// whose burst falls below what somebody waits for never admits it.
	burst = 256 << 10
	// minQuantum and maxQuantum bound the bytes that are admitted at once.
	minQuantum = 1 << 10
	maxQuantum = 16 << 10
	// savedTime is how much of its rate a bucket may save up while idle: as long
	// as a busy machine may keep its user waiting.
	savedTime = 40 * time.Millisecond
)

// Bucket is a cap that any number of connections share. It is safe for
// concurrent use.
type Bucket struct {
	limiter *rate.Limiter
	rate    atomic.Int64 // api.Rate, bits per second
	// turn admits one waiter at a time, in order of arrival. Nobody has tokens
	// reserved far ahead, so a new rate or a closed connection is felt within
	// one quantum.
	turn   chan struct{}
	passed atomic.Int64 // bytes, whether or not there is a cap
}

// NewBucket returns a bucket with a cap of r; zero is unlimited.
func NewBucket(r api.Rate) *Bucket {
	b := &Bucket{limiter: rate.NewLimiter(rate.Inf, burst), turn: make(chan struct{}, 1)}
	b.SetRate(r)
	return b
}

// SetRate changes the cap of all connections that share the bucket, at once.
// Zero is unlimited.
func (b *Bucket) SetRate(r api.Rate) {
	r = max(r, api.Unlimited)
	b.rate.Store(int64(r))
	if r == api.Unlimited {
		b.limiter.SetLimit(rate.Inf)
		return
	}
	b.limiter.SetLimit(rate.Limit(r.BytesPerSecond()))
}

// Rate returns the cap; zero is unlimited.
func (b *Bucket) Rate() api.Rate { return api.Rate(b.rate.Load()) }

// Passed returns how many bytes asked to pass, whether or not there was a cap.
func (b *Bucket) Passed() int64 { return b.passed.Load() }

func (b *Bucket) unlimited() bool { return b.Rate() == api.Unlimited }

// depth is how many bytes may pass at once after an idle time.
func (b *Bucket) depth() int {
	d := b.Rate().BytesPerSecond() * savedTime.Seconds()
	return int(min(max(d, minQuantum), burst))
}

// quantum is how many bytes a connection should carry at once: with their
// headers they are half of what an idle bucket has saved up.
func (b *Bucket) quantum() int {
	depth := max(b.depth()/2, minQuantum)
	return min(depth-segments(depth)*segmentHeaders, maxQuantum)
}

// wait blocks until n bytes may pass. It returns false when stop or expired is
// closed first.
func (b *Bucket) wait(n int, stop, expired <-chan struct{}) bool {
	b.passed.Add(int64(n))
	for n > 0 && !b.unlimited() {
		part := min(n, b.quantum())
		if !b.admit(part, stop, expired) {
			return false
		}
		n -= part
	}
	return true
}

// admit waits for one quantum or less.
func (b *Bucket) admit(n int, stop, expired <-chan struct{}) bool {
	select {
	case b.turn <- struct{}{}:
	case <-stop:
		return false
	case <-expired:
		return false
	}
	defer func() { <-b.turn }()

	now := time.Now()
	b.trim(now)
	reserved := b.limiter.ReserveN(now, n)
	delay := reserved.DelayFrom(now)
	if delay == 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-stop:
	case <-expired:
	}
	reserved.Cancel()
	return false
}

// owe charges n bytes that nobody could hold back. The debt is bounded: a
// narrow bucket under a wide one in the other direction would never open.
func (b *Bucket) owe(n int) {
	b.passed.Add(int64(n))
	now := time.Now()
	if n > 0 && !b.unlimited() && b.limiter.TokensAt(now) > -float64(b.depth()) {
		b.limiter.ReserveN(now, min(n, burst))
	}
}

// trim gives up what the bucket saved beyond its depth. The limiter's burst is
// made for the highest rates; at a low one it would be seconds of traffic.
func (b *Bucket) trim(now time.Time) {
	if spare := int(b.limiter.TokensAt(now)) - b.depth(); spare > 0 {
		b.limiter.AllowN(now, spare)
	}
}
