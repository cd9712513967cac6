package node

import (
	"net/http"
	"net/url"

	"redflag/api"
	"redflag/p2p/plain"
)

// maxTracker bounds an announce URL, in bytes.
const maxTracker = 1 << 10

// torrent answers a .torrent file: the info dictionary of the signed info hash,
// with the tracker that the caller names, or that of this node in plain mode.
func (n *Node) torrent(r *http.Request) (any, error) {
	a, ok := n.state().Artifact(r.PathValue("name"), r.PathValue("version"))
	if !ok {
		return nil, api.Errorf(api.CodeNotFound, "%.100s %.100s is not published", r.PathValue("name"), r.PathValue("version")).
			WithHint("redflag artifacts lists what is")
	}
	announce, err := n.announceURL(r.URL.Query().Get("tracker"))
	if err != nil {
		return nil, err
	}
	if !n.swarm.Has(a.InfoHash) {
		return nil, api.Errorf(api.CodeUnavailable, "node %s does not have %s %s yet", n.cfg.ID, a.Name, a.Version).
			WithHint("ask another node: --server")
	}
	info, err := n.swarm.Info(a.InfoHash)
	if err != nil {
		return nil, err
	}
	return rawAnswer{contentType: "application/x-bittorrent", body: plain.Torrent(info, announce, a.PublishedAt)}, nil
}

func (n *Node) announceURL(wanted string) (string, error) {
	if wanted == "" {
		if own := n.plain.announceURL(); own != "" {
			return own, nil
		}
		why, hint := "the setting swarm.plain is off", "redflag settings set swarm.plain=true, or name a tracker with --tracker"
		switch {
		case n.cfg.PlainListen == "":
			why, hint = "node "+n.cfg.ID+" has no --plain-listen", "ask a node that has it: --server; or name a tracker with --tracker"
		case n.settings().Bool(api.SettingSwarmPlain):
			why, hint = "node "+n.cfg.ID+" does not listen on "+n.cfg.PlainListen+" yet", "its log says why: redflag logs --node "+n.cfg.ID
		}
		return "", api.Errorf(api.CodeConflict, "there is no tracker for plain BitTorrent clients: %s", why).WithHint("%s", hint)
	}
	u, err := url.Parse(wanted)
	if err != nil || len(wanted) > maxTracker || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "udp") {
		return "", api.Errorf(api.CodeInvalid, "%.200q is no announce URL", wanted).WithHint("for example http://tracker.example.org/announce")
	}
	return wanted, nil
}
