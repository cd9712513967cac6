package state

import (
	"time"

	"redflag/api"
)

// Tick is the leader's sign of life: a node that applies one is as fresh as
// the tick is young. Its time is what deadlines are held against, so it ends
// what is overdue and forgets what is old, a bounded number of rows at once.
type Tick struct{}

func (Tick) entryType() EntryType { return TypeTick }

func (Tick) apply(t *tx) []*api.Error {
	t.put(keyTick, tickRow{At: t.now})
	t.expireSettings()
	t.trim(t.expire(trimPerTick))
	return one(nil)
}

type tickRow struct {
	At time.Time `cbor:"1,keyasint"`
}
