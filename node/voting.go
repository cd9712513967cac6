package node

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/durable"
	"redflag/telemetry"
)

// startingTerms is what a node remembers of what the cluster asks of those who
// vote, and where to ask again.
type startingTerms struct {
	RaftTimeout api.Duration `json:"raft_timeout"`
	Peers       []string     `json:"peers"`
}

// mayVote refuses to take part in Raft with a configuration that contradicts
// the cluster's settings: a voter with another timeout deposes leaders that are
// well, or keeps the others waiting. It asks the nodes that it knows, and falls
// back on what it heard last. The refusal comes before Raft is opened, so there
// is no moment at which such a node votes.
func (n *Node) mayVote(ctx context.Context) error {
	terms := n.rememberedTerms()
	wanted := time.Duration(terms.RaftTimeout)
	if said, ok := n.askTerms(ctx, append(n.firstPeers(), terms.Peers...)); ok {
		wanted = said
	}
	if wanted == 0 || wanted == n.cfg.RaftTimeout {
		return nil
	}
	return api.Errorf(api.CodeInvalid, "node %s does not vote with --raft-timeout %s: the cluster wants %s", n.cfg.ID, n.cfg.RaftTimeout, wanted).
		WithHint("start it with --raft-timeout %s, or change cluster.raft_timeout in the settings first", wanted)
}

// askTerms returns what the node with the newest settings says.
func (n *Node) askTerms(ctx context.Context, addrs []string) (time.Duration, bool) {
	ctx, cancel := context.WithTimeout(ctx, meshCallTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var newest api.NodeProbe
	for _, addr := range addrs {
		if addr == n.meshAddr {
			continue
		}
		wg.Go(func() {
			var p api.NodeProbe
			if err := n.meshClient(addr).Do(ctx, http.MethodGet, "/v1/mesh/probe", nil, &p); err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if newest.Node == "" || p.SettingsVersion > newest.SettingsVersion {
				newest = p
			}
		})
	}
	wg.Wait()
	return time.Duration(newest.WantedTimeout), newest.Node != ""
}

func (n *Node) rememberedTerms() startingTerms {
	var terms startingTerms
	if b, err := os.ReadFile(n.path("voting.json")); err == nil {
		_ = json.Unmarshal(b, &terms) // a damaged file remembers nothing
	}
	return terms
}

// keepTerms writes the terms down when they have changed.
func (n *Node) keepTerms() {
	peers := n.knownAddresses(func(id string) bool { return id != n.cfg.ID })
	slices.Sort(peers)
	terms := startingTerms{RaftTimeout: api.Duration(n.settings().Duration(api.SettingClusterRaftTimeout)), Peers: peers}
	b, err := json.Marshal(terms)
	if err == nil && !bytes.Equal(b, n.monitor.terms) {
		err = durable.WriteFile(n.path("voting.json"), b, 0o600)
		n.monitor.terms = b
	}
	if err != nil {
		n.log.Warn("terms of voting not kept", telemetry.KeyError, err)
	}
}
