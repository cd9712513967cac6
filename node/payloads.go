package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/p2p"
	"redflag/regions/gossip"
	"redflag/telemetry"
)

const (
	// announceInterval and announceBusy are how often a node looks for other
	// nodes to fetch from, once it is complete and before.
	announceInterval = 30 * time.Second
	announceBusy     = 3 * time.Second
	// fetchersAtOnce bounds how many payloads a node fetches side by side.
	fetchersAtOnce = 2
	// fetchPatience is how long a fetch may bring nothing before it makes room
	// for another: its only seed may be gone.
	fetchPatience = 30 * time.Second
	// fetchPause keeps a payload that cannot be had from being tried at once
	// again.
	fetchPause = 5 * time.Second
)

// errStalled ends a fetch that brings nothing.
var errStalled = errors.New("nothing has come for a while")

// payloads sees to it that this node holds every published payload. Payloads
// come over the swarm: the coordinator of each region fetches across regions,
// the others of the region fetch from it.
type payloads struct {
	node  *Node
	swarm *p2p.Swarm
	log   hclog.Logger

	mu     sync.Mutex
	known  map[string]api.Artifact // by info hash
	active map[string]struct{}     // being fetched
	wants  map[string]bool         // of those, what this node keeps or fetches; nil for all
	cache  cache
}

func newPayloads(n *Node) *payloads {
	return &payloads{
		node: n, log: n.log.Named("payloads"),
		known: map[string]api.Artifact{}, active: map[string]struct{}{},
		cache: cache{asked: map[string]time.Time{}, given: map[string]int64{}},
	}
}

// wanted reports whether an artifact has this info hash.
func (p *payloads) wanted(infoHash string) bool {
	if p.knows(infoHash) {
		return true
	}
	p.refresh()
	return p.knows(infoHash)
}

// knows is wanted by what this node has looked up already.
func (p *payloads) knows(infoHash string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.known[infoHash]
	return ok
}

// artifact returns the artifact of an info hash that is wanted.
func (p *payloads) artifact(infoHash string) api.Artifact {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[infoHash]
}

func (p *payloads) refresh() {
	artifacts := p.node.state().Artifacts()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range artifacts {
		p.known[a.InfoHash] = a
		for _, d := range a.Deltas {
			p.known[d.InfoHash] = a.OfDelta(d)
		}
	}
}

// run starts a fetch for every payload that is missing, until ctx ends.
func (p *payloads) run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, fetchersAtOnce)
	for {
		p.refresh()
		p.noteUse(time.Now())
		quota, needed := p.node.settings().Bytes(api.SettingNodeCacheQuota), map[string]bool(nil)
		if quota > 0 {
			needed = p.needed(time.Now())
		}
		p.keepQuota(ctx, quota, needed, time.Now())
		for _, a := range p.missing(quota, needed) {
			wg.Go(func() {
				select {
				case slots <- struct{}{}:
					p.fetch(ctx, a)
					<-slots
				case <-ctx.Done():
				}
				p.mu.Lock()
				delete(p.active, a.InfoHash)
				p.mu.Unlock()
			})
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// missing returns the payloads to fetch and marks them as being fetched: what is
// needed, and what the quota has room for besides.
func (p *payloads) missing(quota int64, needed map[string]bool) []api.Artifact {
	room := quota - p.bytesHere()
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []api.Artifact
	take := func(hash string, a api.Artifact) {
		p.active[hash] = struct{}{}
		room -= a.Length
		out = append(out, a)
	}
	var later []string
	p.wants = needed
	for hash, a := range p.known {
		if _, busy := p.active[hash]; busy || p.swarm.Has(hash) {
			continue
		}
		if quota == 0 || needed[hash] {
			take(hash, a)
		} else {
			later = append(later, hash)
		}
	}
	slices.SortFunc(later, func(a, b string) int { return p.known[b].PublishedAt.Compare(p.known[a].PublishedAt) })
	for _, hash := range later { // the newest first
		if a := p.known[hash]; a.Length <= room {
			take(hash, a)
		}
	}
	return out
}

func (p *payloads) fetch(ctx context.Context, a api.Artifact) {
	log := p.log.With("artifact", a.Name, "version", a.Version, "info_hash", a.InfoHash)
	log.Info("payload fetch started", "length", a.Length)
	start := time.Now()
	spec := p2p.FetchSpec{InfoHash: a.InfoHash, Length: a.Length, PieceLength: a.PieceLength, Announce: p.announce}
	err := p.room(a.Length - p.swarm.Kept(spec))
	var transfer api.Transfer
	if err == nil {
		work, cancel := context.WithCancelCause(ctx)
		transfer, err = p.swarm.Fetch(work, spec, whileMoving(cancel))
		cancel(nil)
	}
	switch {
	case err == nil:
		log.Info("payload complete", "ms", time.Since(start).Milliseconds(), "from_nodes", transfer.FromNodes)
	case ctx.Err() != nil:
	default: // the next round tries again
		log.Warn("payload fetch interrupted", telemetry.KeyError, err, "done", transfer.Done)
		select {
		case <-ctx.Done():
		case <-time.After(fetchPause):
		}
	}
}

// room refuses a payload, of which so many bytes are missing, that would leave too
// little disk for the log, with what payloads that are under way have still to take.
func (p *payloads) room(missing int64) error {
	free, _, err := diskSpace(p.node.cfg.DataDir)
	if err != nil {
		return nil //nolint:nilerr // where it cannot be told, it is tried
	}
	promised := int64(0)
	for _, hash := range p.swarm.Shares() {
		if s, ok := p.swarm.Stats(hash); ok {
			promised += s.Total - s.Done
		}
	}
	if free-promised-missing < minDiskFree {
		return fmt.Errorf("%s of disk are free, %s of it for payloads that are under way, and this one needs %s", api.Bytes(free), api.Bytes(promised), api.Bytes(missing))
	}
	return nil
}

// whileMoving returns a progress callback that gives up when verified bytes
// stop to grow.
func whileMoving(giveUp context.CancelCauseFunc) func(api.Transfer) {
	best, since := int64(-1), time.Now()
	return func(t api.Transfer) {
		switch {
		case t.Done > best:
			best, since = t.Done, time.Now()
		case time.Since(since) > fetchPatience:
			giveUp(errStalled)
		}
	}
}

// announce is a node's own tracker: gossip knows the other nodes. The region's
// coordinator fetches across regions; the others wait for it. What
// the region's agents have already needs not cross again.
func (p *payloads) announce(_ context.Context, infoHash string, left int64) (api.AnnounceResponse, error) {
	resp := api.AnnounceResponse{Interval: api.Duration(announceInterval), Size: 1}
	if left == 0 {
		return resp, nil
	}
	resp.Interval = api.Duration(announceBusy)
	p.mu.Lock()
	origin := p.known[infoHash].OriginNode
	p.mu.Unlock()
	members := p.node.gossip.Members()
	local, fetchers := regionView(members, p.node.cfg.Region, origin)
	crossing := p.crosses(p.node.acting(p.node.cfg.Region, members), local)
	for _, m := range members {
		if !m.Alive || m.ID == p.node.cfg.ID || (m.Region != p.node.cfg.Region && !crossing) {
			continue
		}
		resp.Peers = append(resp.Peers, api.SwarmPeer{ID: m.ID, Node: true, Addr: m.MeshAddr})
	}
	resp.Peers = append(resp.Peers, p.node.tracker.Members(infoHash, p.node.cfg.Region, time.Now())...)
	if i := slices.Index(fetchers, p.node.cfg.Region); i >= 0 {
		resp.Rank, resp.Size = i, len(fetchers)
	}
	return resp, nil
}

// crosses reports whether this node fetches across regions: the coordinator of
// its region does. One that is pinned from elsewhere asks for its own region
// only, and then the first node here does.
func (p *payloads) crosses(coordinator string, local []string) bool {
	if !slices.Contains(local, coordinator) && len(local) > 0 {
		coordinator = local[0]
	}
	return coordinator == p.node.cfg.ID
}

// regionView returns the living nodes of region (never empty: the caller is
// one) and the regions that fetch, which are all but the origin's.
func regionView(members []gossip.Member, region, origin string) (local, fetchers []string) {
	home := ""
	for _, m := range members {
		if m.ID == origin {
			home = m.Region
		}
	}
	for _, m := range members {
		if !m.Alive {
			continue
		}
		if m.Region == region {
			local = append(local, m.ID)
		}
		if m.Region != home && !slices.Contains(fetchers, m.Region) {
			fetchers = append(fetchers, m.Region)
		}
	}
	slices.Sort(local)
	slices.Sort(fetchers)
	return local, fetchers
}

// wanBytes tells, by info hash, how much came from nodes of other regions.
func (p *payloads) wanBytes() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]int64{}
	for hash := range p.known {
		if s, ok := p.swarm.Stats(hash); ok {
			out[hash] = s.FromOtherRegions
		}
	}
	return out
}
