package state

import (
	"time"

	"redflag/api"
)

// Tick is the leader's sign of life. A node that applies one is as fresh as
// the tick is young.
type Tick struct{}

func (Tick) entryType() EntryType { return TypeTick }

func (Tick) apply(t *tx) []*api.Error {
	t.put(keyTick, tickRow{At: t.now})
	t.expireSettings()
	return one(nil)
}

type tickRow struct {
	At time.Time `cbor:"1,keyasint"`
}
