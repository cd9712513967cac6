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
	id := identity(r.Context())
	resp := n.tracker.Announce(hash, p2p.Member{
		Peer: p2p.Peer{ID: id.ID, Region: id.Region, Site: p2p.SiteOf(r.RemoteAddr)},
		Addr: net.JoinHostPort(host, strconv.Itoa(req.Port)), Left: req.Left,
	}, time.Now())
	resp.Lease = n.lease(id, p2p.SiteOf(r.RemoteAddr), time.Duration(resp.Interval))
	if req.Left > 0 {
		resp.Peers = append(resp.Peers, api.SwarmPeer{ID: n.cfg.ID, Node: true, Addr: n.meshAddr})
	}
	return resp, nil
}

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
