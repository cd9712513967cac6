package trust

import "time"

// SetClock makes v judge expiry by another clock.
func (v *Verifier) SetClock(now func() time.Time) { v.now = now }
