package agent

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spreads repeats: each wait is drawn between zero and a ceiling that
// doubles from base to limit (full jitter), so that machines that failed
// together do not come back together.
type backoff struct {
	base, limit time.Duration
	tries       int
}

func (b *backoff) next() time.Duration {
	ceiling := b.limit
	if b.tries < 30 {
		ceiling = min(b.limit, b.base<<b.tries)
	}
	b.tries++
	return rand.N(ceiling) + 1
}

func (b *backoff) reset() { b.tries = 0 }

// pause waits for d and reports whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
