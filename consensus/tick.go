package consensus

import (
	"context"
	"time"

	"redflag/consensus/state"
)

// tickInterval is how often the leader shows that it is there.
const tickInterval = 2 * time.Second

// tick proposes a Tick every interval while this node leads. A missed one
// shows as staleness, so errors need no handling.
func (c *Cluster) tick() {
	_ = c.RunOnLeader(c.ctx, func(ctx context.Context) error {
		every := time.NewTicker(tickInterval)
		defer every.Stop()
		for {
			_, _ = c.Propose(ctx, state.TypeTick, state.Tick{})
			select {
			case <-every.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
}
