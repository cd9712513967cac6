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
	if req.Left > 0 {
		n.payloads.want(hash)
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return nil, err
	}
	id, now := identity(r.Context()), time.Now()
	return n.track(r.Context(), hash, announced{
		ID: id.ID, Region: id.Region, Site: n.siteOf(id, r.RemoteAddr),
		Addr: net.JoinHostPort(host, strconv.Itoa(req.Port)), Left: req.Left,
	}, now), nil
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

// lease gives an agent its share of its site's budgets; nil if the site has
// none. It outlasts a lost announce. Each living node of the region has its
// part of a budget to give: agents of one site may ask different nodes.
func (n *Node) lease(id, site string, interval time.Duration) *api.Lease {
	agent, ok := n.state().Agent(id)
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
		Download: n.siteDownload.Lease(site, id, down/nodes, d, now),
		Upload:   n.siteUpload.Lease(site, id, up/nodes, d, now),
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
