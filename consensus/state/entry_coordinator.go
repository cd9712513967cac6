package state

import (
	"slices"
	"time"

	"redflag/api"
)

// maxAssigned bounds the regions of one entry.
const maxAssigned = 1000

// AssignCoordinators gives nodes the coordination of regions for a while, or
// more of it, one record each.
type AssignCoordinators struct {
	Leases []CoordinatorLease `cbor:"1,keyasint"`
}

// CoordinatorLease makes a node the coordinator of a region for a while. A lease
// that runs keeps all other nodes out, unless it is to be handed over.
type CoordinatorLease struct {
	Region string        `cbor:"1,keyasint"`
	Node   string        `cbor:"2,keyasint"`
	For    time.Duration `cbor:"3,keyasint"`
	// HandOver takes the lease from a node that runs: the policy wants another.
	HandOver bool `cbor:"4,keyasint,omitempty"`
}

func (AssignCoordinators) entryType() EntryType { return TypeAssignCoordinators }

func (e AssignCoordinators) apply(t *tx) []*api.Error {
	if n := len(e.Leases); n == 0 || n > maxAssigned {
		return one(api.Errorf(api.CodeInvalid, "an entry assigns 1 to %d regions, not %d", maxAssigned, n))
	}
	out := make([]*api.Error, len(e.Leases))
	for i, l := range e.Leases {
		out[i] = l.assign(t)
	}
	return out
}

func (l CoordinatorLease) assign(t *tx) *api.Error {
	if err := api.CheckID("region", l.Region); err != nil {
		return refusal(err)
	}
	if l.For <= 0 {
		return api.Errorf(api.CodeInvalid, "a lease of %s is none", l.For)
	}
	if !t.get(idKey(keyNode, l.Node), &api.Node{}) {
		return api.Errorf(api.CodeNotFound, "there is no node %.128q", l.Node)
	}
	x := t.machine.index
	row := x.coordinators[l.Region]
	if row.Node != l.Node {
		if row.Node != "" && t.now.Before(row.Until) && !l.HandOver {
			return api.Errorf(api.CodeConflict, "node %s coordinates region %s until its lease ends", row.Node, l.Region)
		}
		row = api.Coordinator{Region: l.Region, Node: l.Node, Since: t.now, Changes: row.Changes + 1}
	}
	row.Until = t.now.Add(l.For)
	t.put(idKey(keyCoordinator, l.Region), row)
	x.coordinators[l.Region] = row
	return nil
}

// dismiss takes the regions from a node that is removed.
func (t *tx) dismiss(node string) {
	x := t.machine.index
	for region, row := range x.coordinators {
		if row.Node == node {
			t.delete(idKey(keyCoordinator, region))
			delete(x.coordinators, region)
		}
	}
}

// Coordinator returns who coordinates a region by the log, also when the lease
// has ended.
func (m *Machine) Coordinator(region string) (api.Coordinator, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	row, ok := m.index.coordinators[region]
	return row, ok && !m.closed
}

// Regions returns the names of all regions that have nodes or agents, sorted.
func (m *Machine) Regions() []string {
	names := map[string]bool{}
	for _, n := range m.Nodes() {
		names[n.Region] = true
	}
	m.mu.RLock()
	for name, agents := range m.index.byRegion {
		names[name] = names[name] || !agents.IsEmpty()
	}
	m.mu.RUnlock()
	out := make([]string, 0, len(names))
	for name, has := range names {
		if has {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
