package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"redflag/api"
)

func checkVersion(n *Node, v *healthView) finding {
	byVersion := map[string][]string{n.cfg.Version: {n.cfg.ID}}
	for id, p := range v.probes {
		byVersion[p.Version] = append(byVersion[p.Version], id)
	}
	if len(byVersion) == 1 {
		return ok("all nodes that answer run " + n.cfg.Version)
	}
	var parts []string
	for _, version := range slices.Sorted(maps.Keys(byVersion)) {
		slices.Sort(byVersion[version])
		parts = append(parts, version+" on "+strings.Join(byVersion[version], " and "))
	}
	return warn("nodes run different versions: "+strings.Join(parts, ", "), "finish the upgrade: one node after the other, waiting for redflag health in between")
}

// checkConfig compares what nodes are started with. What contradicts the
// cluster's settings keeps a node from voting once it starts again.
func checkConfig(n *Node, v *healthView) finding {
	wanted := v.settings.Duration(api.SettingClusterRaftTimeout)
	if wanted != 0 && wanted != n.cfg.RaftTimeout {
		return critical(fmt.Sprintf("this node runs with --raft-timeout %s, the cluster wants %s", n.cfg.RaftTimeout, wanted),
			fmt.Sprintf("start it with --raft-timeout %s: once stopped, it refuses to vote with another", wanted))
	}
	var others []string
	for _, id := range slices.Sorted(maps.Keys(v.probes)) {
		if t := time.Duration(v.probes[id].RaftTimeout); t != n.cfg.RaftTimeout {
			others = append(others, fmt.Sprintf("%s with %s", id, t))
		}
	}
	if len(others) > 0 {
		return warn(fmt.Sprintf("this node runs with --raft-timeout %s, %s", n.cfg.RaftTimeout, strings.Join(others, ", ")),
			"start all nodes with the same; cluster.raft_timeout in the settings enforces it")
	}
	return ok("all nodes that answer are started alike")
}

func checkSwarm(n *Node, v *healthView) finding {
	missing := n.payloads.incomplete()
	quota, over, _ := n.payloads.cacheState()
	n.monitor.mu.Lock()
	if missing == 0 {
		n.monitor.behind = time.Time{}
	} else if n.monitor.behind.IsZero() {
		n.monitor.behind = v.now
	}
	since := n.monitor.behind
	n.monitor.mu.Unlock()
	if over > 0 {
		return warn(fmt.Sprintf("payloads take %s more than node.cache_quota of %s", api.Bytes(over), api.Bytes(quota)),
			"raise node.cache_quota, end rollouts that are no longer wanted, or let another node have a copy: what a rollout needs and the only copy are not evicted")
	}
	if missing == 0 {
		return ok(fmt.Sprintf("seeding %d payloads", len(n.swarm.Complete())))
	}
	detail := fmt.Sprintf("%d payloads are not complete here", missing)
	late := v.now.Sub(since)
	if late < fetchPatience {
		return ok(detail + ", they are on their way")
	}
	return warn(detail+", for "+late.Round(time.Second).String(),
		"check that a node that has them is alive, the caps node.download_limit and node.upload_limit, and free disk")
}

// incomplete counts the published payloads that this node should have and does
// not have whole.
func (p *payloads) incomplete() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	missing := 0
	for hash := range p.known {
		if _, busy := p.active[hash]; (p.wants == nil || p.wants[hash] || busy) && !p.swarm.Has(hash) {
			missing++
		}
	}
	return missing
}

// checkQueue looks at the rollouts that run: what nobody takes, and what fails.
func checkQueue(n *Node, v *healthView) finding {
	oldest, running := "", 0
	var since time.Time
	for _, r := range n.state().Rollouts() {
		if r.State != api.RolloutRunning {
			continue
		}
		running++
		failed, ended := r.Failures(), 0
		for _, s := range api.States {
			if s.Terminal() {
				ended += r.Counts[s]
			}
		}
		if most := v.settings.Int(api.SettingHealthFailing); ended > 0 && int64(failed*100) > most*int64(ended) {
			return warn(fmt.Sprintf("rollout %s fails: %d of %d that ended", r.ID, failed, ended),
				fmt.Sprintf("see why, then cancel or go on: redflag rollout show %s", r.ID))
		}
		if r.Counts[api.StatePending] > 0 && (oldest == "" || r.CreatedAt.Before(since)) {
			oldest, since = r.ID, r.CreatedAt
		}
	}
	if age := v.now.Sub(since); oldest != "" && age > v.settings.Duration(api.SettingHealthPending) {
		return warn(fmt.Sprintf("commands of rollout %s wait for %s", oldest, age.Round(time.Minute)),
			"see which agents are silent: redflag agents; or cancel what is no longer wanted: redflag rollout cancel "+oldest)
	}
	return ok(fmt.Sprintf("%d rollouts run", running))
}
