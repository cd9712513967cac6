package node

import (
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"redflag/api"
)

// guesses bounds how often one address may fail to prove who it is. It forgets
// addresses rather than grow.
type guesses struct {
	mu     sync.Mutex
	byHost map[string]*guesser
}

type guesser struct {
	limit *rate.Limiter
	last  time.Time
}

const (
	guessesPerMinute = 30
	guessBurst       = 10
	maxGuessers      = 10_000
	guesserExpiry    = 10 * time.Minute
)

func (g *guesses) of(host string, now time.Time) *rate.Limiter {
	if g.byHost == nil {
		g.byHost = map[string]*guesser{}
	}
	e := g.byHost[host]
	if e == nil {
		if len(g.byHost) >= maxGuessers {
			for h, e := range g.byHost {
				if now.Sub(e.last) > guesserExpiry || len(g.byHost) >= maxGuessers {
					delete(g.byHost, h)
				}
			}
		}
		e = &guesser{limit: rate.NewLimiter(rate.Every(time.Minute/guessesPerMinute), guessBurst)}
		g.byHost[host] = e
	}
	e.last = now
	return e.limit
}

// spent reports whether the caller has failed too often.
func (g *guesses) spent(r *http.Request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if e := g.byHost[hostOf(r)]; e != nil && e.limit.TokensAt(now) < 1 {
		return api.Errorf(api.CodeRateLimited, "too many wrong tokens from this address").WithHint("wait a minute")
	}
	return nil
}

// failed counts a failure.
func (g *guesses) failed(r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.of(hostOf(r), now).AllowN(now, 1)
}

func hostOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
