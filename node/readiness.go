package node

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"

	"redflag/api"
	"redflag/regions/gossip"
)

// conditions counts, by region, what is true of machines.
type conditions map[string]map[string]int

func (c conditions) add(region, condition string, n int) {
	if c[region] == nil {
		c[region] = map[string]int{}
	}
	c[region][condition] += n
}

// summarizeReadiness counts what the machines of a selector say of themselves.
func (n *Node) summarizeReadiness(r *http.Request) (any, error) {
	selector, err := selectorOf(r)
	if err != nil {
		return nil, err
	}
	all := n.readinessHere(selector)
	var mu sync.Mutex
	n.eachOther(r.Context(), func(ctx context.Context, m gossip.Member) {
		var theirs conditions
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodPost, "/v1/mesh/readiness", selector, &theirs); err != nil {
			n.log.Debug("readiness not answered", "other", m.ID, "error", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for region, counts := range theirs {
			for condition, c := range counts {
				all.add(region, condition, c)
			}
		}
	})
	out := []api.ReadinessCounts{}
	for _, region := range slices.Sorted(maps.Keys(all)) {
		out = append(out, api.ReadinessCounts{Region: region, Counts: all[region]})
	}
	return out, nil
}

// meshReadiness answers another node.
func (n *Node) meshReadiness(r *http.Request) (any, error) {
	var selector api.Selector
	if err := body(r, &selector); err != nil {
		return nil, err
	}
	return n.readinessHere(selector), nil
}

func (n *Node) readinessHere(selector api.Selector) conditions {
	out := conditions{}
	n.eachHeard(selector, func(a *api.Agent, p *api.Presence) {
		for _, c := range p.Readiness.Conditions() {
			out.add(a.Region, c, 1)
		}
	})
	return out
}
