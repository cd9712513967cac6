package system

import (
	"sync"
	"time"
)

// cached keeps an answer that is dear to get. It is safe for concurrent use.
type cached struct {
	mu    sync.Mutex
	at    time.Time
	value *bool
}

// get returns the answer, asked for again once it is older than life.
func (c *cached) get(life time.Duration, ask func() *bool) *bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at.IsZero() || time.Since(c.at) > life {
		c.value, c.at = ask(), time.Now()
	}
	return c.value
}
