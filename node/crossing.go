package node

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/p2p"
	"redflag/regions/gossip"
	"redflag/telemetry"
)

// Payloads cross regions between nodes. An agent may fetch from a node of
// another region, by swarm or by HTTPS, only when its own region's nodes do not
// serve it, and then one agent does for all of them. So that all agree on which
// one, the agents of a region meet at one tracker for each payload, its home:
// a node of the region, or while none lives, a node of another. Whichever node
// an agent asks takes its announce there.

const (
	// crossingWait is how long the agents of a region wait for their node.
	crossingWait = 20 * time.Second
	// homeTimeout bounds a call to the home of a swarm.
	homeTimeout = 2 * time.Second
	// crosserFor is how long a node believes what a home, itself included, said
	// of who crosses: to find out, a tracker looks at every agent of the region.
	crosserFor = 2 * time.Second
)

// announced is an agent's announce on its way to the home of its swarm.
type announced struct {
	ID     string `json:"id"`
	Region string `json:"region"`
	Site   string `json:"site"`
	Addr   string `json:"addr"`
	Left   int64  `json:"left"`
}

// crosser names the agent of a region that may fetch from other regions.
type crosser struct {
	Agent string `json:"agent"` // empty for none
}

// crossers remembers what homes said of who crosses.
type crossers struct {
	mu    sync.Mutex
	known map[[2]string]heardCrosser // by info hash and region
}

type heardCrosser struct {
	agent string
	at    time.Time
}

func (c *crossers) get(hash, region string, now time.Time) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h, ok := c.known[[2]string{hash, region}]
	return h.agent, ok && now.Sub(h.at) < crosserFor
}

func (c *crossers) put(hash, region, agent string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) > maxCrossers {
		c.known = map[[2]string]heardCrosser{}
	}
	c.known[[2]string{hash, region}] = heardCrosser{agent, now}
}

// maxCrossers bounds what is remembered.
const maxCrossers = 1000

// home returns the node at which a region's agents meet for a payload: the
// first living one of the region, or the bridge to it.
func (n *Node) home(hash, region string) gossip.Member {
	members := n.aliveByID()
	if i := slices.IndexFunc(members, func(m gossip.Member) bool { return m.Region == region }); i >= 0 {
		return members[i]
	}
	return n.bridge(hash, region)
}

// bridge returns the node from which a region's crosser fetches: the one that
// the payload was uploaded to, or the first of another region.
func (n *Node) bridge(hash, region string) (first gossip.Member) {
	origin := n.payloads.artifact(hash).OriginNode
	for _, m := range n.aliveByID() {
		if m.Region != region && (first.ID == "" || m.ID == origin) {
			first = m
		}
	}
	return first
}

// aliveByID returns the living nodes in the order of their ids. This one is
// always among them.
func (n *Node) aliveByID() []gossip.Member {
	members := slices.DeleteFunc(n.gossip.Members(), func(m gossip.Member) bool { return !m.Alive })
	slices.SortFunc(members, func(a, b gossip.Member) int { return cmp.Compare(a.ID, b.ID) })
	return members
}

// track takes an announce to the home of its swarm. Where that does not answer
// the agent meets here whoever else does.
func (n *Node) track(ctx context.Context, hash string, a announced, now time.Time) api.AnnounceResponse {
	if a.Region != n.cfg.Region {
		if home := n.home(hash, a.Region); home.ID != n.cfg.ID {
			ctx, cancel := context.WithTimeout(ctx, homeTimeout)
			defer cancel()
			var resp api.AnnounceResponse
			err := n.meshClient(home.MeshAddr).Do(ctx, http.MethodPost, "/v1/mesh/swarms/"+hash+"/announce", a, &resp)
			if err == nil {
				return resp
			}
			telemetry.For(ctx, n.log).Debug("announce not taken to its home", "home", home.ID, telemetry.KeyError, err)
		}
	}
	return n.trackHere(hash, a, now)
}

// trackHere answers an announce from this node's own tracker.
func (n *Node) trackHere(hash string, a announced, now time.Time) api.AnnounceResponse {
	m := p2p.Member{Peer: p2p.Peer{ID: a.ID, Region: a.Region, Site: a.Site}, Addr: a.Addr, Left: a.Left}
	resp := n.tracker.Announce(hash, m, now)
	resp.Lease = n.lease(a.ID, a.Site, time.Duration(resp.Interval))
	if a.Left == 0 {
		return resp
	}
	if a.Region == n.cfg.Region {
		resp.Peers = append(resp.Peers, api.SwarmPeer{ID: n.cfg.ID, Node: true, Addr: n.meshAddr})
	}
	if n.crosserHere(hash, a.Region, now) == a.ID {
		if from := n.bridge(hash, a.Region); from.ID != "" {
			resp.Peers = append(resp.Peers, api.SwarmPeer{ID: from.ID, Node: true, Addr: from.MeshAddr})
		}
	}
	return resp
}

// announceHome is track's other end.
func (n *Node) announceHome(r *http.Request) (any, error) {
	hash := r.PathValue("hash")
	if !validInfoHash(hash) || !n.payloads.wanted(hash) {
		return nil, api.Errorf(api.CodeNotFound, "no artifact has info hash %.40q", hash)
	}
	var a announced
	if err := body(r, &a); err != nil {
		return nil, err
	}
	if a.Left > 0 {
		n.payloads.want(hash)
	}
	return n.trackHere(hash, a, time.Now()), nil
}

// crosserHere asks this node's own tracker. Nobody crosses by the word of a
// node that is not the home of the region's swarm.
func (n *Node) crosserHere(hash, region string, now time.Time) string {
	if n.home(hash, region).ID != n.cfg.ID {
		return ""
	}
	if agent, ok := n.crossers.get(hash, region, now); ok {
		return agent
	}
	nodes, wait := 0, time.Duration(0)
	for _, o := range n.gossip.Members() {
		switch {
		case o.Region != region:
		case o.Alive:
			nodes++
		default: // it has been waited for since
			wait = max(wait, crossingWait-now.Sub(o.Gone))
		}
	}
	if nodes > 0 {
		wait = crossingWait
	}
	agent := n.tracker.Crosser(hash, region, nodes > 0, wait, now)
	n.crossers.put(hash, region, agent, now)
	return agent
}

// showCrosser tells another node who crosses.
func (n *Node) showCrosser(r *http.Request) (any, error) {
	return crosser{n.crosserHere(r.PathValue("hash"), r.URL.Query().Get("region"), time.Now())}, nil
}

// servesPeer reports whether a peer may fetch a payload from this node.
func (n *Node) servesPeer(ctx context.Context, peer p2p.Peer, hash string) bool {
	if peer.Node || peer.Region == n.cfg.Region {
		return true
	}
	now := time.Now()
	home := n.home(hash, peer.Region)
	if home.ID == n.cfg.ID {
		return n.crosserHere(hash, peer.Region, now) == peer.ID
	}
	agent, ok := n.crossers.get(hash, peer.Region, now)
	if !ok {
		ctx, cancel := context.WithTimeout(ctx, homeTimeout)
		defer cancel()
		var c crosser
		err := n.meshClient(home.MeshAddr).Do(ctx, http.MethodGet, "/v1/mesh/swarms/"+hash+"/crosser?region="+url.QueryEscape(peer.Region), nil, &c)
		if err != nil {
			n.log.Debug("home of a swarm does not say who crosses", "home", home.ID, telemetry.KeyError, err)
		}
		agent = c.Agent // nobody, where the home is silent
		n.crossers.put(hash, peer.Region, agent, now)
	}
	return agent == peer.ID
}
