package regions

import (
	"maps"
	"sync"
	"time"
)

// rttWeight is the share of a new measurement in the average: one part in so
// many. Four forgets an outlier within a handful of polls.
const rttWeight = 4

// RTT keeps a moving average of the round trip to each node. The zero value
// is ready; it is safe for concurrent use.
type RTT struct {
	mu   sync.Mutex
	byID map[string]time.Duration
}

// Observe counts a measured round trip to a node. Zero and less are ignored.
func (r *RTT) Observe(id string, d time.Duration) {
	if d <= 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID == nil {
		r.byID = map[string]time.Duration{}
	}
	if old, ok := r.byID[id]; ok {
		d = old + (d-old)/rttWeight
	}
	r.byID[id] = d
}

// Fail forgets a node that did not answer: until it does, it ranks behind
// those that were measured.
func (r *RTT) Fail(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, id)
}

// Snapshot returns the averages by node id, for Rank.
func (r *RTT) Snapshot() map[string]time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.byID)
}
