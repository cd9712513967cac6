package node

import (
	"context"
	"net/http"
	"sync"
	"time"

	"redflag/api"
	"redflag/durable"
	"redflag/regions/gossip"
)

// probe is what another node said of itself, and how its clock differs.
type probe struct {
	api.NodeProbe
	skew time.Duration // its clock minus ours
}

func (n *Node) meshProbe(*http.Request) (any, error) { return n.probe(), nil }

func (n *Node) probe() api.NodeProbe {
	s := n.settings()
	return api.NodeProbe{
		Node: n.cfg.ID, Now: n.cfg.Clock().UTC(), Version: n.cfg.Version,
		SettingsVersion: s.Version, AppliedIndex: n.state().Applied(),
		RaftTimeout: api.Duration(n.cfg.RaftTimeout), WantedTimeout: api.Duration(s.Duration(api.SettingClusterRaftTimeout)),
	}
}

// probeOthers compares this node with the others. The middle of the exchange is
// taken for the moment at which the other one looked at its clock.
func (n *Node) probeOthers(ctx context.Context) {
	probes := map[string]probe{}
	var mu sync.Mutex
	n.eachOther(ctx, func(ctx context.Context, m gossip.Member) {
		var p probe
		began := n.cfg.Clock()
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodGet, "/v1/mesh/probe", nil, &p.NodeProbe); err != nil {
			return // gossip finds out who is silent
		}
		took := n.cfg.Clock().Sub(began)
		p.skew = p.Now.Sub(began.Add(took / 2))
		mu.Lock()
		defer mu.Unlock()
		probes[m.ID] = p
	})
	n.monitor.mu.Lock()
	defer n.monitor.mu.Unlock()
	n.monitor.probes = probes
}

// timeDisk makes one small write durable, the way the log does.
func (n *Node) timeDisk() {
	began := time.Now()
	err := durable.WriteFile(n.path("health.probe"), make([]byte, 4<<10), 0o600)
	took := time.Since(began)
	n.monitor.mu.Lock()
	defer n.monitor.mu.Unlock()
	n.monitor.fsync, n.monitor.fsErr = took, err
}
