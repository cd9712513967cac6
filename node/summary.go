package node

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/regions/gossip"
)

// onlinePatience is what an agent may be late beyond its missed polls.
const onlinePatience = 10 * time.Second

// heard is how many agents of each region polled a node lately, by activity.
type heard map[string]map[api.Activity]int

// summarizeAgents counts who a selector picks, without listing anybody.
func (n *Node) summarizeAgents(r *http.Request) (any, error) {
	selector, err := selectorOf(r)
	if err != nil {
		return nil, err
	}
	return summary(n.countAgents(selector), n.heardEverywhere(r.Context(), selector)), nil
}

// selectorOf reads the terms of a query; none picks everybody.
func selectorOf(r *http.Request) (api.Selector, error) {
	if terms := r.URL.Query()["select"]; len(terms) > 0 {
		return api.ParseSelector(terms...)
	}
	return api.Selector{All: true}, nil
}

// countAgents counts the enrolled agents of each region.
func (n *Node) countAgents(selector api.Selector) map[string]int {
	counts := map[string]int{}
	n.state().EachAgent(func(a *api.Agent) {
		if selector.Matches(a) {
			counts[a.Region]++
		}
	})
	return counts
}

// summary joins what is replicated with what was heard. An agent that changed
// its node a moment ago may have been heard twice: no region has more online
// than it has agents.
func summary(counts map[string]int, all heard) api.AgentSummary {
	s := api.AgentSummary{Regions: []api.AgentCounts{}}
	for _, region := range slices.Sorted(maps.Keys(counts)) {
		online := 0
		for _, c := range all[region] {
			online += c
		}
		c := api.AgentCounts{Region: region, Agents: counts[region], Online: min(online, counts[region]), Activities: all[region]}
		s.Agents, s.Online, s.Regions = s.Agents+c.Agents, s.Online+c.Online, append(s.Regions, c)
	}
	return s
}

// heardHere counts those that a selector picks among the agents that polled
// this node lately.
func (n *Node) heardHere(selector api.Selector) heard {
	out := heard{}
	n.eachHeard(selector, func(a *api.Agent, p *api.Presence) {
		if out[a.Region] == nil {
			out[a.Region] = map[api.Activity]int{}
		}
		out[a.Region][cmp.Or(p.Activity, api.ActivityIdle)]++
	})
	return out
}

// eachHeard calls f with those that a selector picks among the agents that
// polled this node lately.
func (n *Node) eachHeard(selector api.Selector, f func(*api.Agent, *api.Presence)) {
	now, idle := time.Now(), n.pollIdle()
	polled := n.presence.get(nil)
	if len(polled) == 0 {
		return
	}
	n.state().EachAgent(func(a *api.Agent) {
		p, ok := polled[a.ID]
		if ok && selector.Matches(a) && now.Sub(p.LastPoll) <= 3*idle(a)+onlinePatience {
			f(a, p)
		}
	})
}

// pollIdle returns how often an agent polls that has nothing to do. Most
// clusters say that once for all; only where they do not is each agent looked up.
func (n *Node) pollIdle() func(*api.Agent) time.Duration {
	differs := slices.ContainsFunc(n.state().SettingsLayers(), func(v api.SettingValue) bool {
		return v.Key == api.SettingPollIdle && v.Layer.String() != string(api.LayerCluster)
	})
	if !differs {
		all := n.state().Settings().Duration(api.SettingPollIdle)
		return func(*api.Agent) time.Duration { return all }
	}
	return func(a *api.Agent) time.Duration {
		return n.state().SettingsFor(a.Target()).Duration(api.SettingPollIdle)
	}
}

// meshHeard answers another node.
func (n *Node) meshHeard(r *http.Request) (any, error) {
	var selector api.Selector
	if err := body(r, &selector); err != nil {
		return nil, err
	}
	return n.heardHere(selector), nil
}

// heardEverywhere asks every living node at once; a silent one is left out.
func (n *Node) heardEverywhere(ctx context.Context, selector api.Selector) heard {
	all := n.heardHere(selector)
	var mu sync.Mutex
	n.eachOther(ctx, func(ctx context.Context, m gossip.Member) {
		var theirs heard
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodPost, "/v1/mesh/heard", selector, &theirs); err != nil {
			n.log.Debug("count of agents not answered", "other", m.ID, "error", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for region, activities := range theirs {
			if all[region] == nil {
				all[region] = map[api.Activity]int{}
			}
			for activity, c := range activities {
				all[region][activity] += c
			}
		}
	})
	return all
}
