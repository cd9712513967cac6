package agent

import (
	"cmp"
	"slices"
	"time"

	"redflag/api"
	"redflag/p2p"
)

// accountedFor is how long polls go on about a payload that stands still.
const accountedFor = 10 * time.Minute

// accounts tells nodes what has become of the payloads in the swarm. It is for
// one goroutine.
type accounts struct {
	swarm  *swarm
	before map[string]account // by info hash
}

// account is what was told of a payload last.
type account struct {
	stats p2p.Stats
	at    time.Time
	moved time.Time // when it was another than before
}

// now returns the accounts of the payloads that moved lately, the latest first.
func (a *accounts) now() []api.SwarmMember {
	a.swarm.mu.Lock()
	sw := a.swarm.opened
	a.swarm.mu.Unlock()
	if sw == nil {
		return nil
	}
	now, seen := time.Now(), map[string]account{}
	var told []api.SwarmMember
	for _, hash := range sw.Shares() {
		stats, ok := sw.Stats(hash)
		if !ok {
			continue
		}
		last := a.before[hash]
		next := account{stats, now, last.moved}
		if stats.Done != last.stats.Done || stats.ToPeers != last.stats.ToPeers {
			next.moved = now
		}
		seen[hash] = next
		if now.Sub(next.moved) < accountedFor {
			told = append(told, a.tell(hash, last, next))
		}
	}
	a.before = seen
	slices.SortFunc(told, func(x, y api.SwarmMember) int {
		return cmp.Or(seen[y.InfoHash].moved.Compare(seen[x.InfoHash].moved), cmp.Compare(x.InfoHash, y.InfoHash))
	})
	return told[:min(len(told), api.MaxSwarms)]
}

func (a *accounts) tell(hash string, last, next account) api.SwarmMember {
	s := next.stats
	m := api.SwarmMember{
		InfoHash: hash, Transfer: s.Transfer, FromSite: s.FromSite, Wasted: s.Wasted, Corrupt: s.Corrupt,
		Peers: s.Peers, Sources: s.Sources, Took: api.Duration(s.Took),
		Download: api.SwarmRate{Cap: a.swarm.limits.download.Rate()},
		Upload:   api.SwarmRate{Cap: a.swarm.limits.upload.Rate()},
	}
	if d := next.at.Sub(last.at).Seconds(); !last.at.IsZero() && d > 0 {
		m.Download.Now = api.Rate(max(0, float64(s.Done-last.stats.Done)*8/d))
		m.Upload.Now = api.Rate(max(0, float64(s.ToPeers-last.stats.ToPeers)*8/d))
	}
	return m
}
