package consensus

import (
	"fmt"
	"time"

	"redflag/api"
	"redflag/consensus/state"
)

// announcePause is what lies between two tries to announce.
const announcePause = time.Second

// announce tells the cluster which level of entries this node knows, once it
// is part of one. A refusal means that the others already use entries that
// this version cannot apply: it stops before it meets one.
func (c *Cluster) announce() {
	for c.ctx.Err() == nil {
		if c.State().LevelOfNode(c.cfg.NodeID) == c.cfg.Level {
			return
		}
		result, err := c.Propose(c.ctx, state.TypeAnnounce, state.Announce{NodeID: c.cfg.NodeID, Level: c.cfg.Level})
		switch {
		case err != nil:
			pause(c.ctx, announcePause)
		case api.CodeOf(result.Err()) == api.CodeConflict:
			c.fsm.stop(fmt.Errorf("announce version: %w", result.Err()))
			return
		default:
			return
		}
	}
}
