package node

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/regions/gossip"
	"redflag/telemetry"
	"redflag/trust"
)

// maxOutdated bounds the list of outdated packages.
const maxOutdated = 1000

// summarizeUpdates says what is outdated on the machines of a selector: artifacts, by
// the last polls, and packages of the operating system, by the last scans.
func (n *Node) summarizeUpdates(r *http.Request) (any, error) {
	selector, err := selectorOf(r)
	if err != nil {
		return nil, err
	}
	picked := map[string]bool{}
	n.state().EachAgent(func(a *api.Agent) {
		if selector.Matches(a) {
			picked[a.ID] = true
		}
	})
	out := api.Outdated{Agents: len(picked), Items: []api.OutdatedPackage{}, Artifacts: n.outdatedArtifacts(r.Context(), selector)}
	type update struct{ name, candidate string }
	found := map[update]*api.OutdatedPackage{}
	n.state().EachInventory(func(id string, inv *api.Inventory) {
		if !picked[id] {
			return
		}
		out.Scanned++
		if out.Oldest.IsZero() || inv.At.Before(out.Oldest) {
			out.Oldest = inv.At
		}
		if inv.Pending > 0 {
			out.Pending++
		}
		for _, u := range inv.Updates {
			key := update{u.Name, u.Candidate}
			if found[key] == nil {
				found[key] = &api.OutdatedPackage{Name: u.Name, Candidate: u.Candidate, Example: id}
			}
			found[key].Agents++
			found[key].Security = found[key].Security || u.Security
		}
	})
	for _, p := range found {
		out.Items = append(out.Items, *p)
	}
	slices.SortFunc(out.Items, func(a, b api.OutdatedPackage) int {
		if a.Security != b.Security {
			if a.Security {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Agents, a.Agents), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Candidate, b.Candidate))
	})
	out.Items = out.Items[:min(len(out.Items), maxOutdated)]
	return out, nil
}

// outdatedArtifacts counts, over all nodes, what their agents have installed although
// a newer version was signed for them.
func (n *Node) outdatedArtifacts(ctx context.Context, selector api.Selector) []api.OutdatedArtifact {
	all := n.outdatedHere(selector)
	var mu sync.Mutex
	n.eachOther(ctx, func(ctx context.Context, m gossip.Member) {
		var theirs []api.OutdatedArtifact
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodPost, "/v1/mesh/outdated", selector, &theirs); err != nil {
			n.log.Debug("outdated artifacts not answered", "other", m.ID, telemetry.KeyError, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, theirs...)
	})
	merged := []api.OutdatedArtifact{}
	for _, a := range all {
		i := slices.IndexFunc(merged, func(o api.OutdatedArtifact) bool {
			return o.Name == a.Name && o.Installed == a.Installed && o.Newest == a.Newest
		})
		if i < 0 {
			merged = append(merged, a)
			continue
		}
		merged[i].Agents += a.Agents
	}
	slices.SortFunc(merged, func(a, b api.OutdatedArtifact) int {
		return cmp.Or(cmp.Compare(b.Agents, a.Agents), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Installed, b.Installed), cmp.Compare(a.Newest, b.Newest))
	})
	return merged[:min(len(merged), maxOutdated)]
}

// meshOutdated answers another node.
func (n *Node) meshOutdated(r *http.Request) (any, error) {
	var selector api.Selector
	if err := body(r, &selector); err != nil {
		return nil, err
	}
	return n.outdatedHere(selector), nil
}

func (n *Node) outdatedHere(selector api.Selector) []api.OutdatedArtifact {
	signed := n.signedVersions()
	type pair struct{ name, installed, newest string }
	found := map[pair]*api.OutdatedArtifact{}
	n.eachHeard(selector, func(a *api.Agent, p *api.Presence) {
		for _, in := range p.Installed {
			newest := newerFor(signed[in.Name], p.Machine, in.Version)
			if newest == "" {
				continue
			}
			key := pair{in.Name, in.Version, newest}
			if found[key] == nil {
				found[key] = &api.OutdatedArtifact{Name: in.Name, Installed: in.Version, Newest: newest, Example: a.ID}
			}
			found[key].Agents++
		}
	})
	out := make([]api.OutdatedArtifact, 0, len(found))
	for _, o := range found {
		out = append(out, *o)
	}
	return out
}

// newerFor is the newest of the versions, which come newest first, that a machine
// which has installed this one would take; "" if it has the newest.
func newerFor(versions []trust.Target, m api.Machine, installed string) string {
	here := trust.Machine{OS: m.OS, Arch: m.Arch, Labels: m.Labels, Installed: installed}
	for _, t := range versions {
		if order, err := trust.CompareVersions(t.Custom.Version, installed); err != nil || order <= 0 {
			return ""
		}
		if t.AppliesTo(here) == nil {
			return t.Custom.Version
		}
	}
	return ""
}

// signedVersions are the targets that agents believe, by artifact and newest first,
// without the deltas.
func (n *Node) signedVersions() map[string][]trust.Target {
	root, _ := n.currentMetadata(state.RoleRoot)
	targets, _ := n.currentMetadata(state.RoleTargets)
	summary, err := trust.CheckTargets(root, targets, time.Time{})
	if err != nil {
		return nil // nothing was signed yet
	}
	byPath := summary.Targets
	for _, role := range n.delegated() {
		file, _ := n.currentMetadata(role)
		theirs, err := trust.CheckDelegated(targets, role, file, time.Time{})
		if err != nil {
			continue // nothing of it is believed
		}
		for path, t := range theirs.Targets {
			if _, ok := byPath[path]; !ok {
				byPath[path] = t
			}
		}
	}
	signed := map[string][]trust.Target{}
	for _, t := range byPath {
		if t.Custom.Coding == nil || t.Custom.Coding.From == nil {
			signed[t.Custom.Name] = append(signed[t.Custom.Name], t)
		}
	}
	for _, versions := range signed {
		slices.SortFunc(versions, func(a, b trust.Target) int {
			order, _ := trust.CompareVersions(b.Custom.Version, a.Custom.Version) // both were checked
			return order
		})
	}
	return signed
}
