package node

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"redflag/api"
	"redflag/p2p"
	"redflag/trust/pki"
)

// announce is the tracker: the caller is who its certificate says, its host
// is the one it calls from, and its peers are of its own region.
func (n *Node) announce(r *http.Request) (any, error) {
	hash := r.PathValue("hash")
	if !validInfoHash(hash) {
		return nil, api.Errorf(api.CodeInvalid, "%q is not an info hash", hash).WithHint("want 40 hex digits")
	}
	if !n.payloads.wanted(hash) {
		return nil, api.Errorf(api.CodeNotFound, "no artifact has info hash %s", hash)
	}
	var req api.AnnounceRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if req.Port < 1 || req.Port > 65535 || req.Left < 0 {
		return nil, api.Errorf(api.CodeInvalid, "port %d or left %d is out of range", req.Port, req.Left)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return nil, err
	}
	id, now := identity(r.Context()), time.Now()
	m := p2p.Member{
		Peer: p2p.Peer{ID: id.ID, Region: id.Region, Site: n.siteOf(id, r.RemoteAddr)},
		Addr: net.JoinHostPort(host, strconv.Itoa(req.Port)), Left: req.Left,
	}
	resp := n.tracker.Announce(hash, m, now)
	resp.Lease = n.lease(id, m.Site, time.Duration(resp.Interval))
	if req.Left > 0 && n.serves(hash, m, now) {
		resp.Peers = append(resp.Peers, api.SwarmPeer{ID: n.cfg.ID, Node: true, Addr: n.meshAddr})
	}
	return resp, nil
}

// labelSite is the label that names the site of an agent.
const labelSite = "site"

// siteOf names the local network of an agent: as it is labelled, or by the
// address that it calls from.
func (n *Node) siteOf(id pki.Identity, addr string) string {
	if agent, ok := n.state().Agent(id.ID); ok && agent.Labels[labelSite] != "" {
		return agent.Labels[labelSite]
	}
	return p2p.SiteOf(addr)
}

// serves reports whether an agent may fetch from this node. Payloads cross
// regions between nodes; an agent of a region whose node does not answer it
// waits a while for that one, and then one agent fetches for its region.
func (n *Node) serves(infoHash string, m p2p.Member, now time.Time) bool {
	if m.Region == n.cfg.Region {
		return true
	}
	wait := time.Duration(0)
	for _, o := range n.gossip.Members() {
		switch {
		case o.Region != m.Region:
		case o.Alive:
			wait = crossingWait
		default: // it has been waited for since
			wait = max(wait, crossingWait-now.Sub(o.Gone))
		}
	}
	return n.tracker.MayCross(infoHash, m, wait, now)
}

// crossingWait is how long the agents of a region wait for their node.
const crossingWait = 20 * time.Second

// lease gives an agent its share of its site's budgets; nil if the site has
// none. It outlasts a lost announce. Each living node of the region has its
// part of a budget to give: agents of one site may ask different nodes.
func (n *Node) lease(id pki.Identity, site string, interval time.Duration) *api.Lease {
	agent, ok := n.state().Agent(id.ID)
	if !ok || site == "" {
		return nil
	}
	s := n.state().SettingsFor(agent.Target())
	down, up := s.Rate(api.SettingSiteDownload), s.Rate(api.SettingSiteUpload)
	if down == api.Unlimited && up == api.Unlimited {
		return nil
	}
	local, _ := regionView(n.gossip.Members(), n.cfg.Region, "")
	nodes := api.Rate(max(1, len(local)))
	d, now := interval*5/2, time.Now()
	return &api.Lease{
		Download: n.siteDownload.Lease(site, id.ID, down/nodes, d, now),
		Upload:   n.siteUpload.Lease(site, id.ID, up/nodes, d, now),
		For:      api.Duration(d),
	}
}

func validInfoHash(s string) bool {
	if len(s) != 40 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
