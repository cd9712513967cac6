package node

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/consensus"
	"redflag/regions/gossip"
	"redflag/telemetry"
)

const (
	// healthRound is how often the checks run.
	healthRound = time.Second
	// probeRound is how often a node compares itself with the others, and how
	// often it times a synced write.
	probeRound = 5 * time.Second
)

// healthView is what one round of checks looks at.
type healthView struct {
	now      time.Time
	settings api.Settings
	raft     consensus.Status
	stale    time.Duration
	peers    []api.Node
	probes   map[string]probe // by node, of those that answer
	disk     diskView
}

type diskView struct {
	free, total int64
	fsync       time.Duration
	err         error
}

// healthCheck finds out about one thing. serving says that a node that is
// critical here must not get callers.
type healthCheck struct {
	name    string
	serving bool
	find    func(*Node, *healthView) finding
}

type finding struct {
	status         api.Status
	detail, advice string
}

func ok(detail string) finding { return finding{status: api.StatusOK, detail: detail} }
func warn(detail, advice string) finding {
	return finding{api.StatusWarn, detail, advice}
}

func critical(detail, advice string) finding {
	return finding{api.StatusCritical, detail, advice}
}

// healthChecks stand in the order of api.HealthChecks.
var healthChecks = []healthCheck{
	{"raft", true, checkRaft},
	{"gossip", false, checkGossip},
	{"disk", true, checkDisk},
	{"clock", false, checkClock},
	{"certificates", false, checkCertificates},
	{"version", false, checkVersion},
	{"config", false, checkConfig},
	{"swarm", false, checkSwarm},
	{"queue", false, checkQueue},
	{"logs", false, checkLogs},
}

// healthMonitor remembers the last round, and since when each check says what
// it says.
type healthMonitor struct {
	mu     sync.Mutex
	checks []api.Check
	ran    time.Time // when checks were made
	probes map[string]probe
	fsync  time.Duration
	fsErr  error
	behind time.Time // since when payloads are missing; zero for none
	terms  []byte    // of voting, as last written
	// alarmed has the last alarm that was logged, by what expires and when.
	alarmed map[string]time.Duration
	// lost is how many lines of its own the node had lost when that last grew.
	lost   uint64
	lostAt time.Time
}

// watchHealth runs the checks until ctx ends.
func (n *Node) watchHealth(ctx context.Context) error {
	nextProbe := time.Time{}
	for {
		if now := time.Now(); now.After(nextProbe) {
			nextProbe = now.Add(probeRound)
			n.probeOthers(ctx)
			n.timeDisk()
			n.keepTerms()
		}
		n.runChecks()
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(healthRound):
		}
	}
}

func (n *Node) view() *healthView {
	free, total, err := diskSpace(n.cfg.DataDir)
	n.monitor.mu.Lock()
	defer n.monitor.mu.Unlock()
	disk := diskView{free: free, total: total, fsync: n.monitor.fsync, err: cmp.Or(err, n.monitor.fsErr)}
	return &healthView{
		now: n.cfg.Clock(), settings: n.settings(), raft: n.cluster.Status(), stale: n.cluster.Stale(),
		peers: n.nodes(), probes: n.monitor.probes, disk: disk,
	}
}

// runChecks makes one round and logs what has changed.
func (n *Node) runChecks() []api.Check {
	v := n.view()
	checks := make([]api.Check, 0, len(healthChecks))
	for _, c := range healthChecks {
		if !v.settings.Bool(api.HealthSwitch(c.name)) {
			continue
		}
		f := c.find(n, v)
		checks = append(checks, api.Check{Name: c.name, Status: f.status, Detail: f.detail, Advice: f.advice, Since: v.now.UTC()})
	}
	n.monitor.mu.Lock()
	defer n.monitor.mu.Unlock()
	for i := range checks {
		c := &checks[i]
		k := slices.IndexFunc(n.monitor.checks, func(o api.Check) bool { return o.Name == c.Name })
		if k >= 0 && n.monitor.checks[k].Status == c.Status {
			c.Since = n.monitor.checks[k].Since
			continue
		}
		if k >= 0 || c.Status != api.StatusOK {
			n.log.Info("health changed", "check", c.Name, "status", string(c.Status), "detail", c.Detail)
		}
	}
	n.monitor.checks, n.monitor.ran = checks, time.Now()
	return slices.Clone(checks)
}

// health is this node's view of itself at this moment.
func (n *Node) health() api.Health {
	checks := n.runChecks()
	st := n.cluster.Status()
	free, total, _ := diskSpace(n.cfg.DataDir)
	cluster, _ := n.state().Cluster()
	h := api.Health{
		Checks: checks,
		Node:   n.cfg.ID, Region: n.cfg.Region, ClusterID: cluster.ID, Version: n.cfg.Version,
		StartedAt: n.startedAt, RaftState: st.State, Term: st.Term, Leader: st.LeaderID,
		CommitIndex: st.CommitIndex, AppliedIndex: st.AppliedIndex, Voters: len(st.Voters),
		Peers: n.nodes(), DiskFree: free, DiskTotal: total, Seeding: n.swarm.Complete(), WANBytes: n.payloads.wanBytes(),
		Expiries: n.expiriesOf(),
	}
	h.Status, h.Serving = verdict(checks)
	return h
}

// verdict is what checks come to together.
func verdict(checks []api.Check) (status api.Status, serving bool) {
	status, serving = api.StatusOK, true
	for _, c := range checks {
		status = status.Worse(c.Status)
		if c.Status == api.StatusCritical && servingCheck(c.Name) {
			serving = false
		}
	}
	return status, serving
}

func servingCheck(name string) bool {
	return slices.ContainsFunc(healthChecks, func(c healthCheck) bool { return c.name == name && c.serving })
}

// publicHealth tells anybody, and so from the last round of checks: strangers
// must not be able to make work. Where rounds stand still, as on a disk that
// hangs, it makes one.
func (n *Node) publicHealth(*http.Request) (any, error) {
	n.monitor.mu.Lock()
	checks, ran := n.monitor.checks, n.monitor.ran
	n.monitor.mu.Unlock()
	if time.Since(ran) > 5*healthRound {
		checks = n.runChecks()
	}
	status, serving := verdict(checks)
	if !serving {
		return nil, api.Errorf(api.CodeUnavailable, "node %s is not able to serve", n.cfg.ID).
			WithHint("redflag health tells operators why")
	}
	return api.PublicHealth{Status: status, Version: n.cfg.Version}, nil
}

// ownHealth tells a load balancer whether to send callers here, and an
// operator why.
func (n *Node) ownHealth(r *http.Request) (any, error) {
	if r.Header.Get("Authorization") == "" {
		return n.publicHealth(r)
	}
	return n.asOperator(n.fullHealth)(r)
}

func (n *Node) fullHealth(*http.Request) (any, error) { return n.health(), nil }

// clusterHealth asks every node for its own view. A node that is known and
// silent is reported as such.
func (n *Node) clusterHealth(r *http.Request) (any, error) {
	all := []api.Health{n.health()}
	var mu sync.Mutex
	n.eachOther(r.Context(), func(ctx context.Context, m gossip.Member) {
		var h api.Health
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodGet, "/v1/mesh/health", nil, &h); err != nil {
			telemetry.For(ctx, n.log).Debug("health not answered", "other", m.ID, telemetry.KeyError, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, h)
	})
	for _, m := range n.state().Nodes() {
		if !slices.ContainsFunc(all, func(h api.Health) bool { return h.Node == m.ID }) {
			all = append(all, api.Health{
				Node: m.ID, Region: m.Region, Status: api.StatusCritical,
				Checks: []api.Check{{
					Name: "reachable", Status: api.StatusCritical, Detail: "does not answer at " + m.MeshAddr,
					Advice: "start it again, or remove it for good with: redflag nodes remove " + m.ID,
				}},
			})
		}
	}
	slices.SortFunc(all, func(a, b api.Health) int { return cmp.Compare(a.Node, b.Node) })
	return all, nil
}
