package node

import (
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"redflag/api"
)

// hosts keeps a rate for each of many sources. It forgets sources rather than
// grow. The zero value is ready, and safe for concurrent use.
type hosts struct {
	mu sync.Mutex
	by map[string]*source
}

type source struct {
	limit *rate.Limiter
	last  time.Time
}

const (
	maxSources   = 10_000
	sourceExpiry = 10 * time.Minute
)

// of returns the rate of a source; the caller holds mu.
func (h *hosts) of(who string, now time.Time, perMinute, burst int) *rate.Limiter {
	if h.by == nil {
		h.by = map[string]*source{}
	}
	s := h.by[who]
	if s == nil {
		h.makeRoom(now)
		s = &source{limit: rate.NewLimiter(rate.Every(time.Minute/time.Duration(perMinute)), burst)}
		h.by[who] = s
	}
	s.last = now
	return s.limit
}

func (h *hosts) makeRoom(now time.Time) {
	if len(h.by) < maxSources {
		return
	}
	for who, s := range h.by {
		if now.Sub(s.last) > sourceExpiry || len(h.by) >= maxSources {
			delete(h.by, who)
		}
	}
}

// allow takes one from a source's rate.
func (h *hosts) allow(who string, now time.Time, perMinute, burst int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of(who, now, perMinute, burst).AllowN(now, 1)
}

// liveRate is a rate that follows a setting. The zero value is ready, and safe
// for concurrent use.
type liveRate struct {
	mu    sync.Mutex
	limit *rate.Limiter
}

// of allows so many per second. It begins with a second's worth: a limiter
// whose burst is raised later has to fill up first.
func (l *liveRate) of(perSecond int) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limit == nil || l.limit.Burst() != perSecond {
		l.limit = rate.NewLimiter(rate.Limit(perSecond), perSecond)
	}
	return l.limit
}

// guesses bounds how often one address may fail to prove who it is.
type guesses struct{ hosts }

const (
	guessesPerMinute = 30
	guessBurst       = 10
)

// spent reports whether the caller has failed too often.
func (g *guesses) spent(r *http.Request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if s := g.by[hostOf(r)]; s != nil && s.limit.TokensAt(now) < 1 {
		return api.Errorf(api.CodeRateLimited, "too many wrong tokens from this address").WithHint("wait a minute")
	}
	return nil
}

// failed counts a failure.
func (g *guesses) failed(r *http.Request) {
	g.allow(hostOf(r), time.Now(), guessesPerMinute, guessBurst)
}

// hostOf names who calls by address; of IPv6 by the network of a site, whose
// addresses are all one machine's for the asking.
func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.Unmap().Is4() {
		return host
	}
	site, err := ip.Prefix(64)
	if err != nil {
		return host
	}
	return site.String()
}
