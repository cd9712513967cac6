package agent

import (
	"context"
	"slices"
	"time"

	"redflag/api"
	"redflag/p2p"
	"redflag/telemetry"
)

const (
	// seedingTick is how soon a change of what may be given is felt.
	seedingTick = time.Second
	// seedingSettled is how old a payload is before the quota may take it: what
	// was just fetched is still to be installed.
	seedingSettled = 10 * time.Minute
)

// seeding is what the settings say of complete payloads and others; zero is no
// limit.
type seeding struct {
	ratio   int64         // percent of the payload's length that is given at most
	last    time.Duration // how long after it was fetched it is given
	quota   int64         // bytes that payloads may take once they are installed
	metered bool          // give over a link on which bytes cost, too
}

func (l *limits) seeding() seeding {
	l.mu.Lock()
	all := l.set.Settings()
	l.mu.Unlock()
	return seeding{
		ratio: all.Int(api.SettingSeedRatio), last: all.Duration(api.SettingSeedTime),
		quota: all.Bytes(api.SettingSeedQuota), metered: all.Bool(api.SettingSeedMetered),
	}
}

// gives reports whether a payload of this length and age, of which so much was
// given, may be given to others.
func (p seeding) gives(given, length int64, age time.Duration, metered bool) bool {
	switch {
	case metered && !p.metered:
		return false
	case p.ratio > 0 && given >= length*p.ratio/100:
		return false
	case p.last > 0 && age >= p.last:
		return false
	}
	return true
}

// keepSeeding gives payloads as the settings and the link allow, until ctx ends.
func (s *swarm) keepSeeding(ctx context.Context) error {
	ticker := time.NewTicker(seedingTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			s.mu.Lock()
			sw := s.opened
			s.mu.Unlock()
			if sw != nil {
				s.seed(sw, now)
			}
		}
	}
}

func (s *swarm) seed(sw *p2p.Swarm, now time.Time) {
	policy, metered := s.limits.seeding(), s.metered()
	for _, hash := range sw.Complete() {
		stats, ok := sw.Stats(hash)
		if !ok {
			continue
		}
		age := time.Duration(0)
		if policy.last > 0 { // it is asked of the disk
			age = now.Sub(sw.LastUse(hash))
		}
		gives := policy.gives(stats.ToPeers, stats.Total, age, metered)
		if changed, err := sw.Give(hash, gives); err != nil {
			s.log.Warn("seeding not changed", "info_hash", hash, telemetry.KeyError, err)
		} else if changed {
			s.log.Info("seeding changed", "info_hash", hash, "gives", gives, "given", stats.ToPeers, "metered", metered)
		}
	}
	s.shrink(sw, policy.quota, now.Add(-seedingSettled))
}

// shrink removes the oldest payloads until the rest fits the quota. Those that
// were fetched later than settled stay.
func (s *swarm) shrink(sw *p2p.Swarm, quota int64, settled time.Time) {
	if quota == 0 {
		return
	}
	hashes, sum := sw.Complete(), int64(0)
	length := func(hash string) int64 { stats, _ := sw.Stats(hash); return stats.Total }
	for _, hash := range hashes {
		sum += length(hash)
	}
	slices.SortFunc(hashes, func(a, b string) int { return sw.LastUse(a).Compare(sw.LastUse(b)) })
	for _, hash := range hashes {
		if sum <= quota || sw.LastUse(hash).After(settled) {
			return
		}
		n := length(hash)
		if err := sw.Remove(hash); err != nil {
			s.log.Warn("payload beyond the quota not removed", "info_hash", hash, telemetry.KeyError, err)
			continue
		}
		s.log.Info("payload beyond the quota removed", "info_hash", hash, "bytes", n)
		sum -= n
	}
}
