package node

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"redflag/api"
)

// stateCollector reads, at each scrape, what the node knows anyway.
type stateCollector struct{ n *Node }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("redflag_"+name, help, labels, nil)
}

var (
	descBuild     = desc("build_info", "Always 1; the labels say which node and version this is.", "node", "region", "version")
	descHealth    = desc("health_check_status", "What a health check says: 0 ok, 1 warn, 2 critical.", "check")
	descLeader    = desc("raft_leader", "1 on the node that leads, else 0.")
	descCoord     = desc("region_coordinator", "1 on the node that fetches payloads from other regions for its own, else 0.")
	descTerm      = desc("raft_term", "Term of the Raft log.")
	descCommit    = desc("raft_commit_index", "Index up to which the log is known to be committed.")
	descApplied   = desc("raft_applied_index", "Index up to which the log is part of this node's state.")
	descVoters    = desc("raft_voters", "Nodes that vote.")
	descStale     = desc("raft_staleness_seconds", "Time since this node last heard the leader's tick through the log.")
	descSlowest   = desc("raft_slowest_apply_seconds", "Longest time that one log entry took since the start.")
	descQueued    = desc("queue_waiting_reports", "Changes of agents that wait on this node for a place in the log.")
	descCommands  = desc("queue_commands", "Commands of the rollouts that run, by state.", "state")
	descOldest    = desc("queue_oldest_pending_seconds", "Age of the oldest running rollout that has pending commands, 0 for none.")
	descAgents    = desc("agents_enrolled", "Enrolled agents, by region.", "region")
	descPolling   = desc("agents_polling", "Agents that polled this node lately, by region and activity.", "region", "activity")
	descReadiness = desc("agents_readiness", "Agents that polled this node lately, by whether their machine can be worked on.", "readiness")
	descCap       = desc("cap_bytes_per_second", "This node's own cap on the wire; +Inf when there is none.", "direction")
	descWire      = desc("wire_bytes_total", "Bytes of swarm connections under this node's caps, headers included.", "direction")
	descWAN       = desc("wan_bytes_total", "Payload bytes that this node fetched from other regions.")
	descPlainSent = desc("plain_sent_bytes_total", "Payload bytes that this node sent to plain BitTorrent clients.")
	descPlainOpen = desc("plain_peers", "Plain BitTorrent clients that are connected to this node.")
	descPlainSaid = desc("plain_announces_total", "Announces of plain BitTorrent clients that this node answered.")
	descPlainNo   = desc("plain_refused_total", "Connections and announces at the plain port that were refused.")
	descSeeding   = desc("payloads_seeding", "Payloads that this node has whole and gives.")
	descMissing   = desc("payloads_missing", "Published payloads that this node does not have whole.")
	descPayloads  = desc("payload_bytes", "Disk that payloads take which are here or on their way.")
	descQuota     = desc("payload_quota_bytes", "What node.cache_quota grants; +Inf without a limit.")
	descOver      = desc("payload_over_quota_bytes", "What is beyond the quota and cannot be evicted.")
	descEvicted   = desc("payloads_evicted_total", "Payloads that this node evicted since it started, to keep its quota.")
	descChecked   = desc("payload_checked_bytes_total", "Payload bytes that this node hashed again since it started, because no stamp vouched for them.")
	descDiskFree  = desc("disk_free_bytes", "Free disk where the data directory is.")
	descFsync     = desc("disk_sync_seconds", "Time that the last small synced write took.")
	descLogsLost  = desc("log_lines_lost_total", "Log lines of this node that were lost since it started.")
	descLogStore  = desc("log_store_bytes", "Size of the log store.")
)

var stateDescs = []*prometheus.Desc{
	descBuild, descHealth, descLeader, descCoord, descTerm, descCommit, descApplied, descVoters, descStale, descSlowest,
	descQueued, descCommands, descOldest, descAgents, descPolling, descReadiness, descCap, descWire, descWAN,
	descPlainSent, descPlainOpen, descPlainSaid, descPlainNo, descSeeding, descMissing, descChecked, descPayloads,
	descQuota, descOver, descEvicted, descDiskFree, descFsync, descLogsLost, descLogStore,
}

// Describe implements prometheus.Collector.
func (c stateCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range stateDescs {
		out <- d
	}
}

// gauges hands over values one by one.
type gauges struct{ out chan<- prometheus.Metric }

func (g gauges) set(d *prometheus.Desc, v float64, labels ...string) {
	g.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (g gauges) total(d *prometheus.Desc, v float64, labels ...string) {
	g.out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
}

// Collect implements prometheus.Collector.
func (c stateCollector) Collect(out chan<- prometheus.Metric) {
	g := gauges{out}
	g.set(descBuild, 1, c.n.cfg.ID, c.n.cfg.Region, c.n.cfg.Version)
	c.n.collectRaft(g)
	c.n.collectQueue(g)
	c.n.collectAgents(g)
	c.n.collectSwarm(g)
	c.n.collectHealth(g)
}

func (n *Node) collectRaft(g gauges) {
	st := n.cluster.Status()
	leads := 0.0
	if st.LeaderID == n.cfg.ID {
		leads = 1
	}
	g.set(descLeader, leads)
	g.set(descCoord, float64(btoi(n.acting(n.cfg.Region, n.gossip.Members()) == n.cfg.ID)))
	g.set(descTerm, float64(st.Term))
	g.set(descCommit, float64(st.CommitIndex))
	g.set(descApplied, float64(st.AppliedIndex))
	g.set(descVoters, float64(len(st.Voters)))
	g.set(descSlowest, st.SlowestApply.Seconds())
	g.set(descStale, min(n.cluster.Stale(), time.Since(n.startedAt)).Seconds())
	g.set(descQueued, float64(n.cluster.QueueDepth()))
}

func (n *Node) collectQueue(g gauges) {
	counts := map[api.State]int{}
	var oldest time.Time
	for _, r := range n.state().Rollouts() {
		if r.State != api.RolloutRunning {
			continue
		}
		for s, c := range r.Counts {
			counts[s] += c
		}
		if r.Counts[api.StatePending] > 0 && (oldest.IsZero() || r.CreatedAt.Before(oldest)) {
			oldest = r.CreatedAt
		}
	}
	for _, s := range api.States {
		g.set(descCommands, float64(counts[s]), string(s))
	}
	age := 0.0
	if !oldest.IsZero() {
		age = max(0, n.cfg.Clock().Sub(oldest).Seconds())
	}
	g.set(descOldest, age)
}

// collectAgents counts agents; a region beyond the bound is counted as other.
func (n *Node) collectAgents(g gauges) {
	enrolled := map[string]int{}
	for region, c := range n.countAgents(api.Selector{All: true}) {
		enrolled[n.metrics.region(region)] += c
	}
	for region, c := range enrolled {
		g.set(descAgents, float64(c), region)
	}
	type key struct{ region, activity string }
	polling := map[key]int{}
	for region, activities := range n.heardHere(api.Selector{All: true}) {
		for activity, c := range activities {
			polling[key{n.metrics.region(region), knownActivity(activity)}] += c
		}
	}
	for k, c := range polling {
		g.set(descPolling, float64(c), k.region, k.activity)
	}
	ready := map[string]int{"ready": 0, "blocked": 0, "degraded": 0}
	for _, p := range n.presence.get(nil) {
		ready[readinessOf(p.Readiness)]++
	}
	for what, c := range ready {
		g.set(descReadiness, float64(c), what)
	}
}

// knownActivity keeps a word that some agent made up from being a label.
func knownActivity(a api.Activity) string {
	switch a {
	case api.ActivityIdle, api.ActivityDownloading, api.ActivityInstalling, api.ActivityFailing, api.ActivityDegraded:
		return string(a)
	default:
		return api.MetricOther
	}
}

func readinessOf(r *api.Readiness) string {
	switch {
	case r == nil:
		return "ready"
	case r.Degraded != "":
		return "degraded"
	case len(r.Blocked) > 0:
		return "blocked"
	default:
		return "ready"
	}
}

func (n *Node) collectSwarm(g gauges) {
	g.set(descCap, capValue(n.uploadCap.Rate()), "upload")
	g.set(descCap, capValue(n.downloadCap.Rate()), "download")
	g.total(descWire, float64(n.uploadCap.Passed()), "upload")
	g.total(descWire, float64(n.downloadCap.Passed()), "download")
	var wan int64
	for _, b := range n.payloads.wanBytes() {
		wan += b
	}
	g.total(descWAN, float64(wan))
	clients := n.plain.server.Stats()
	g.total(descPlainSent, float64(clients.Sent))
	g.set(descPlainOpen, float64(clients.Peers))
	g.total(descPlainSaid, float64(clients.Announces))
	g.total(descPlainNo, float64(clients.Refused))
	g.set(descSeeding, float64(len(n.swarm.Complete())))
	g.set(descMissing, float64(n.payloads.incomplete()))
	quota, over, evicted := n.payloads.cacheState()
	g.set(descPayloads, float64(n.payloads.bytesHere()))
	limit := math.Inf(1)
	if quota > 0 {
		limit = float64(quota)
	}
	g.set(descQuota, limit)
	g.set(descOver, float64(over))
	g.total(descEvicted, float64(evicted))
	g.total(descChecked, float64(n.swarm.Checked()))
}

func (n *Node) collectHealth(g gauges) {
	n.monitor.mu.Lock()
	checks, fsync := n.monitor.checks, n.monitor.fsync
	n.monitor.mu.Unlock()
	for _, c := range checks {
		g.set(descHealth, statusValue(c.Status), c.Name)
	}
	g.set(descFsync, fsync.Seconds())
	if free, _, err := diskSpace(n.cfg.DataDir); err == nil {
		g.set(descDiskFree, float64(free))
	}
	lost := uint64(0)
	if n.logs.spool != nil {
		lost = n.logs.spool.Dropped()
	}
	g.total(descLogsLost, float64(lost))
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if size, err := n.logs.store.Size(ctx); err == nil {
		g.set(descLogStore, float64(size))
	}
}

// statusValue is a health status as a number that grows with the trouble.
func statusValue(s api.Status) float64 {
	switch s {
	case api.StatusOK:
		return 0
	case api.StatusWarn:
		return 1
	default:
		return 2
	}
}

func capValue(r api.Rate) float64 {
	if r == api.Unlimited {
		return math.Inf(1)
	}
	return float64(r.BytesPerSecond())
}
