package plain

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How much strangers may take. A source is an address, of IPv6 a /64: all of
// that is one machine's for the asking.
const (
	maxConns          = 256
	maxConnsPerSource = 24
	// A source may connect this often: a site behind one address asks the
	// tracker and dials for all its machines.
	connsPerSecond = 5
	connsBurst     = 50
	maxSources     = 4096
	sourceExpiry   = time.Minute
)

// gate bounds connections, in all and by source. The zero value is ready.
type gate struct {
	mu   sync.Mutex
	open int
	by   map[netip.Prefix]*source
}

type source struct {
	open  int
	limit *rate.Limiter
	last  time.Time
}

func sourceOf(a netip.Addr) netip.Prefix {
	if a.Is4() {
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, _ := a.Prefix(64) // the zero prefix for the zero address
	return p
}

// enter lets one connection in, which leave ends.
func (g *gate) enter(from netip.Addr, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	key := sourceOf(from)
	s := g.by[key]
	if s == nil {
		if !g.room(now) {
			return false
		}
		s = &source{limit: rate.NewLimiter(connsPerSecond, connsBurst)}
		g.by[key] = s
	}
	s.last = now
	if !s.limit.AllowN(now, 1) || s.open >= maxConnsPerSource || g.open >= maxConns {
		return false
	}
	s.open++
	g.open++
	return true
}

// room forgets sources that are gone for long enough to have their whole rate
// again. If that is not enough nobody new is let in: who is there stays.
func (g *gate) room(now time.Time) bool {
	if g.by == nil {
		g.by = map[netip.Prefix]*source{}
	}
	if len(g.by) < maxSources {
		return true
	}
	for key, s := range g.by {
		if s.open == 0 && now.Sub(s.last) > sourceExpiry {
			delete(g.by, key)
		}
	}
	return len(g.by) < maxSources
}

func (g *gate) leave(from netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open--
	if s := g.by[sourceOf(from)]; s != nil {
		s.open--
	}
}
