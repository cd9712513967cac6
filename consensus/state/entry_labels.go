package state

import (
	"maps"

	"redflag/api"
)

// LabelAgent changes what selectors see of an agent. It joins the dynamic
// rollouts that it matches from now on; commands that it has, it keeps.
type LabelAgent struct {
	AgentID string            `cbor:"1,keyasint"`
	Set     map[string]string `cbor:"2,keyasint,omitempty"`
	Remove  []string          `cbor:"3,keyasint,omitempty"`
}

func (LabelAgent) entryType() EntryType { return TypeLabelAgent }

func (e LabelAgent) apply(t *tx) []*api.Error { return one(e.label(t)) }

func (e LabelAgent) label(t *tx) *api.Error {
	var row agentRow
	if !t.get(idKey(keyAgent, e.AgentID), &row) {
		return api.Errorf(api.CodeNotFound, "agent %.128q is not known", e.AgentID)
	}
	if !row.Agent.RevokedAt.IsZero() {
		return api.Errorf(api.CodeConflict, "agent %s was put out", e.AgentID)
	}
	labels := maps.Clone(row.Agent.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	for _, k := range e.Remove {
		delete(labels, k)
	}
	maps.Copy(labels, e.Set)
	if err := api.CheckLabels(labels); err != nil {
		return refusal(err)
	}
	x := t.machine.index
	x.removeAgent(&row.Agent, row.Ordinal)
	row.Agent.Labels = labels
	x.addAgent(&row.Agent, row.Ordinal)
	t.putAgent(row)
	t.join(&row.Agent, row.Ordinal)
	return nil
}
