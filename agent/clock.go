package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"redflag/durable"
)

// clockEvery is how far time goes on before its lower bound is written again.
const clockEvery = time.Minute

// clock is the machine's clock that never goes back below the time of an
// earlier poll, across restarts: who sets the clock back cannot make expired
// metadata, certificates or orders valid again. Only a poll raises the bound, and
// not above what the node that answered has for the time: a clock that leaps
// ahead by accident leaves no trace once it is set right, and neither does a
// node's. It is safe for concurrent use.
type clock struct {
	path string
	wall func() time.Time

	mu      sync.Mutex
	floor   time.Time
	written time.Time
}

type clockFile struct {
	NotBefore time.Time `json:"not_before"`
}

// openClock reads the lower bound, which may be missing. A damaged one is as
// good as missing.
func openClock(path string) (*clock, error) {
	c := &clock{path: path, wall: time.Now}
	b, err := durable.ReadFile(path, 4096)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read clock: %w", err)
	}
	var f clockFile
	if err == nil && json.Unmarshal(b, &f) == nil {
		c.floor, c.written = f.NotBefore, f.NotBefore
	}
	return c, nil
}

// now returns the later of the machine's clock and the lower bound.
func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.wall(); t.After(c.floor) {
		return t
	}
	return c.floor
}

// keep raises the lower bound after a poll that was answered, by a node that
// said what time it is. The file is a minute behind at most.
func (c *clock) keep(theirs time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.wall().UTC()
	if theirs.Before(now) {
		now = theirs.UTC()
	}
	if !now.After(c.floor) {
		return nil
	}
	c.floor = now
	if now.Sub(c.written) < clockEvery {
		return nil
	}
	b, err := json.Marshal(clockFile{NotBefore: now})
	if err != nil {
		return err
	}
	if err := durable.WriteFile(c.path, b, 0o600); err != nil {
		return fmt.Errorf("keep clock: %w", err)
	}
	c.written = now
	return nil
}
