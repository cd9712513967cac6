package node

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"redflag/api"
	"redflag/p2p"
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
	if req.Left > 0 {
		resp.Peers = append(resp.Peers, api.SwarmPeer{ID: n.cfg.ID, Node: true, Addr: n.meshAddr})
	}
	return resp, nil
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
