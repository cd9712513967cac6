package node

import (
	"context"
	"crypto/sha256"
	"net/http"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/regions/gossip"
	"redflag/telemetry"
)

// Under node.cache_quota a node keeps the payloads that it needs, those that no
// other living node has, and of the rest what was used last, as far as the
// quota goes. A payload that went comes back when it is needed again.

const (
	// askedFor is how long a payload counts as needed after somebody asked for
	// it. Rollouts that are not over count as long as they last.
	askedFor = 10 * time.Minute
	// usedEvery is how often the use of payloads is noted.
	usedEvery = 10 * time.Second
	// evictPause is when a node that could not keep its quota tries again.
	evictPause = 5 * time.Second
)

// cache is what a node knows of its payloads' use. It is guarded by payloads.mu.
type cache struct {
	asked   map[string]time.Time // by info hash
	given   map[string]int64     // bytes given to peers when that was looked at last
	looked  time.Time
	tried   time.Time // when nothing more could be evicted
	over    int64     // bytes beyond the quota that cannot be evicted
	quota   int64     // bytes, 0 for no limit
	evicted int64     // payloads, since the start
}

// want marks a payload as needed for a while.
func (p *payloads) want(infoHash string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.known[infoHash]; ok {
		p.cache.asked[infoHash] = time.Now()
	}
}

// needed returns the payloads that a rollout which is not over may bring, and
// those that somebody asked for lately.
func (p *payloads) needed(now time.Time) map[string]bool {
	live := map[string]bool{}
	for _, r := range p.node.state().Rollouts() {
		if !r.State.Ended() && r.Artifact != "" {
			live[api.TargetPath(r.Artifact, r.Version)] = true
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]bool{}
	for hash, a := range p.known {
		// A rollout without a version may bring any.
		if live[api.TargetPath(a.Name, a.Version)] || live[api.TargetPath(a.Name, "")] || now.Sub(p.cache.asked[hash]) < askedFor {
			out[hash] = true
		}
	}
	return out
}

// noteUse records which payloads went to peers since the last look.
func (p *payloads) noteUse(now time.Time) {
	p.mu.Lock()
	due := now.Sub(p.cache.looked) >= usedEvery
	if due {
		p.cache.looked = now
	}
	p.mu.Unlock()
	if !due {
		return
	}
	for _, hash := range p.swarm.Complete() {
		s, ok := p.swarm.Stats(hash)
		if !ok {
			continue
		}
		p.mu.Lock()
		used := s.ToPeers > p.cache.given[hash]
		p.cache.given[hash] = s.ToPeers
		p.mu.Unlock()
		if used {
			p.use(hash, now)
		}
	}
}

func (p *payloads) use(hash string, now time.Time) {
	if err := p.swarm.Use(hash, now); err != nil {
		p.log.Debug("use of a payload not noted", "info_hash", hash, telemetry.KeyError, err)
	}
}

// bytesHere is what the payloads take that are here or on their way.
func (p *payloads) bytesHere() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for hash, a := range p.known {
		if _, busy := p.active[hash]; busy || p.swarm.Has(hash) {
			n += a.Length
		}
	}
	return n
}

// keepQuota evicts what it may of what is beyond the quota, with the room that
// missing payloads take which are needed.
func (p *payloads) keepQuota(ctx context.Context, quota int64, needed map[string]bool, now time.Time) {
	over := p.bytesHere() - quota
	p.mu.Lock()
	var spare []string
	for hash, a := range p.known {
		_, busy := p.active[hash]
		switch {
		case needed[hash] && !busy && !p.swarm.Has(hash):
			over += a.Length
		case !needed[hash] && !busy && p.swarm.Has(hash):
			spare = append(spare, hash)
		}
	}
	p.cache.quota = quota
	if quota == 0 || over <= 0 {
		p.cache.over, p.cache.tried = 0, time.Time{}
		p.mu.Unlock()
		return
	}
	pause := now.Sub(p.cache.tried) < evictPause
	p.mu.Unlock()
	if pause {
		return
	}
	slices.SortFunc(spare, func(a, b string) int { return p.swarm.LastUse(a).Compare(p.swarm.LastUse(b)) })
	if len(spare) > 0 {
		over -= p.evict(ctx, spare, over)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cache.over = max(0, over)
	if over > 0 {
		p.cache.tried = now
	}
}

// evict removes payloads in their order until so many bytes are free, and
// returns how many are.
func (p *payloads) evict(ctx context.Context, spare []string, bytes int64) (freed int64) {
	others := p.holders(ctx)
	for _, hash := range spare {
		if freed >= bytes {
			break
		}
		if keeper(hash, append(others[hash], p.node.cfg.ID)) == p.node.cfg.ID {
			continue // the only copy, or the one that the others count on
		}
		a := p.artifact(hash)
		if err := p.swarm.Remove(hash); err != nil {
			p.log.Warn("payload not evicted", "info_hash", hash, telemetry.KeyError, err)
			continue
		}
		p.log.Info("payload evicted", "artifact", a.Name, "version", a.Version, "info_hash", hash, "bytes", a.Length, "also_on", others[hash])
		freed += a.Length
		p.mu.Lock()
		p.cache.evicted++
		delete(p.cache.given, hash)
		p.mu.Unlock()
	}
	return freed
}

// holders asks the other living nodes which payloads they have whole, and
// returns the nodes by info hash.
func (p *payloads) holders(ctx context.Context) map[string][]string {
	out := map[string][]string{}
	var mu sync.Mutex
	p.node.eachOther(ctx, func(ctx context.Context, m gossip.Member) {
		var h api.Health
		if err := p.node.meshClient(m.MeshAddr).Do(ctx, http.MethodGet, "/v1/mesh/health", nil, &h); err != nil {
			return // what it has does not count
		}
		mu.Lock()
		defer mu.Unlock()
		for _, hash := range h.Seeding {
			out[hash] = append(out[hash], m.ID)
		}
	})
	return out
}

// keeper returns the node of those that have a payload which does not evict it:
// the first by rendezvous hashing (Thaler and Ravishankar, 1998). Nodes that
// each see only a part of the others may keep more copies than one, never fewer:
// the first of all is the first of every part that it is in.
func keeper(hash string, nodes []string) (first string) {
	var best [sha256.Size]byte
	for _, id := range nodes {
		if sum := sha256.Sum256([]byte(id + "\x00" + hash)); first == "" || slices.Compare(sum[:], best[:]) > 0 {
			first, best = id, sum
		}
	}
	return first
}

// cacheState is for health and metrics.
func (p *payloads) cacheState() (quota, over, evicted int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cache.quota, p.cache.over, p.cache.evicted
}
