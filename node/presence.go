package node

import (
	"maps"
	"sync"
	"time"

	"redflag/api"
)

// presenceExpiry is how long a node remembers an agent's last poll.
const presenceExpiry = 7 * 24 * time.Hour

// presence remembers the last poll of each agent that polls this node. It is
// soft state: lost on restart and back within one poll interval.
type presence struct {
	mu   sync.RWMutex
	byID map[string]*api.Presence // values are never changed, only replaced
}

func newPresence() *presence { return &presence{byID: map[string]*api.Presence{}} }

func (p *presence) put(v *api.Presence) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.byID[v.AgentID] = v
}

// get returns what is known of the agents in ids, and of all for a nil ids.
func (p *presence) get(ids []string) map[string]*api.Presence {
	p.mu.RLock()
	defer p.mu.RUnlock()
	out := make(map[string]*api.Presence, len(ids))
	if ids == nil {
		maps.Copy(out, p.byID)
		return out
	}
	for _, id := range ids {
		if v, ok := p.byID[id]; ok {
			out[id] = v
		}
	}
	return out
}

// sweep forgets agents that poll elsewhere, or no more.
func (p *presence) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.byID, func(_ string, v *api.Presence) bool { return now.Sub(v.LastPoll) > presenceExpiry })
}

// newer merges b into a: the later poll of each agent wins.
func newer(a, b map[string]*api.Presence) {
	for id, v := range b {
		if have, ok := a[id]; !ok || have.LastPoll.Before(v.LastPoll) {
			a[id] = v
		}
	}
}
