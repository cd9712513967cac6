package ratelimit

import (
	"sync"
	"time"

	"redflag/api"
)

// Trickle is what a member of a site with a budget may use while it holds no
// lease: enough to stay in touch.
const Trickle api.Rate = 64_000

// Budget divides the cap of each site among its active members. A share is a
// lease: shares that hold never sum up to more than the cap, and one that is
// not renewed is free again when it ends, which its holder knows too. So a
// cap holds although members come and go, and nodes are lost. It is safe for
// concurrent use.
type Budget struct {
	mu    sync.Mutex
	sites map[string]map[string]lease // by site and member
}

type lease struct {
	rate api.Rate
	ends time.Time
}

// NewBudget returns a budget without leases.
func NewBudget() *Budget { return &Budget{sites: make(map[string]map[string]lease)} }

// Lease gives a member its share of a site's cap until d has passed, in place
// of the one that it had. A newcomer waits for the others to renew theirs: it
// gets what is free, and Trickle at least.
func (b *Budget) Lease(site, member string, total api.Rate, d time.Duration, now time.Time) api.Rate {
	if total == api.Unlimited {
		return api.Unlimited
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	members := b.sites[site]
	if members == nil {
		members = make(map[string]lease)
		b.sites[site] = members
	}
	free, active := total, api.Rate(1)
	for id, l := range members {
		switch {
		case now.After(l.ends):
			delete(members, id)
		case id != member:
			free -= l.rate
			active++
		}
	}
	share := max(min(total/active, free), Trickle)
	members[member] = lease{share, now.Add(d)}
	return share
}

// Sweep forgets leases that have ended.
func (b *Budget) Sweep(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for site, members := range b.sites {
		for id, l := range members {
			if now.After(l.ends) {
				delete(members, id)
			}
		}
		if len(members) == 0 {
			delete(b.sites, site)
		}
	}
}
