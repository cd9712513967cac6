package state

import (
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"redflag/api"
)

// CreateRollout asks the agents that match Selector now to do one thing with
// one artifact. A repeat with the same content is accepted.
type CreateRollout struct {
	ID            string       `cbor:"1,keyasint"`
	Kind          api.Kind     `cbor:"2,keyasint"`
	Artifact      string       `cbor:"3,keyasint"`
	Version       string       `cbor:"4,keyasint,omitempty"`
	Selector      api.Selector `cbor:"5,keyasint"`
	CorrelationID string       `cbor:"6,keyasint,omitempty"`
	CreatedBy     string       `cbor:"7,keyasint,omitempty"`
}

func (CreateRollout) entryType() EntryType { return TypeCreateRollout }

func (e CreateRollout) apply(t *tx) []*api.Error { return one(e.create(t)) }

func (e CreateRollout) create(t *tx) *api.Error {
	asked := api.CreateRolloutRequest{
		ID: e.ID, Kind: e.Kind, Artifact: e.Artifact, Version: e.Version, Selector: e.Selector,
	}
	if err := asked.Validate(); err != nil {
		return refusal(err)
	}
	if e.CorrelationID != "" && !api.ValidCorrelationID(e.CorrelationID) {
		return api.Errorf(api.CodeInvalid, "the correlation id is not a trace id")
	}
	var have rolloutRow
	if t.get(idKey(keyRollout, e.ID), &have) {
		if !e.created(&have) {
			return api.Errorf(api.CodeConflict, "rollout %s exists with other content", e.ID)
		}
		return nil
	}
	if !t.hasArtifact(e.Artifact, e.Version) {
		return api.Errorf(api.CodeNotFound, "artifact %s %s is not published", e.Artifact, e.Version).
			WithHint("redflag publish uploads and signs it")
	}
	members := t.machine.index.selected(e.Selector)
	if members.IsEmpty() {
		return api.Errorf(api.CodeInvalid, "no agent matches %q", e.Selector.String()).
			WithHint("redflag agents shows their regions and labels")
	}
	t.addRollout(e.row(t, int(members.GetCardinality())), members)
	return nil
}

func (e CreateRollout) row(t *tx, agents int) rolloutRow {
	return rolloutRow{
		ID: e.ID, Kind: e.Kind, Artifact: e.Artifact, Version: e.Version,
		Selector: e.Selector, CorrelationID: e.CorrelationID, CreatedBy: e.CreatedBy,
		CreatedAt: t.now, Index: t.index, Agents: agents,
	}
}

// created reports whether row is what e creates.
func (e CreateRollout) created(row *rolloutRow) bool {
	a, b := e.Selector, row.Selector
	return e.Kind == row.Kind && e.Artifact == row.Artifact && e.Version == row.Version &&
		a.All == b.All && slices.Equal(a.Regions, b.Regions) &&
		slices.Equal(a.Agents, b.Agents) && maps.Equal(a.Labels, b.Labels)
}

// hasArtifact reports whether a version is published, or any if version is "".
func (t *tx) hasArtifact(name, version string) bool {
	if version != "" {
		return t.get(artifactKey(name, version), &api.Artifact{})
	}
	prefix := artifactKey(name, "")
	return t.anyIn(prefix, after(prefix))
}

func (t *tx) addRollout(row rolloutRow, members *roaring.Bitmap) {
	encoded, err := encodeBitmap(members)
	if err != nil && t.err == nil {
		t.err = err
	}
	p := &progressRow{State: api.RolloutRunning, Regions: map[string]*regionRow{}}
	for region, agents := range t.machine.index.byRegion {
		if n := members.AndCardinality(agents); n > 0 {
			p.Regions[region] = &regionRow{Counts: map[api.State]int{api.StatePending: int(n)}}
		}
	}
	t.put(idKey(keyRollout, row.ID), row)
	t.putBytes(idKey(keyMembers, row.ID), encoded)
	t.putBytes(orderKey(row.Index), []byte(row.ID))
	t.progress[row.ID] = p
	t.machine.index.addRollout(&activeRollout{row: row, pending: members, open: roaring.New()})
}

// CancelRollout cancels every command of a rollout that was never leased. What
// an agent already holds goes on, and may still end either way.
type CancelRollout struct {
	ID string `cbor:"1,keyasint"`
}

func (CancelRollout) entryType() EntryType { return TypeCancelRollout }

func (e CancelRollout) apply(t *tx) []*api.Error { return one(e.cancel(t)) }

func (e CancelRollout) cancel(t *tx) *api.Error {
	key := idKey(keyRollout, e.ID)
	var row rolloutRow
	if !t.get(key, &row) {
		return api.Errorf(api.CodeNotFound, "rollout %q is not known", e.ID)
	}
	if !row.CancelledAt.IsZero() {
		return nil // a repeat
	}
	active := t.machine.index.byID[e.ID]
	if active == nil {
		return api.Errorf(api.CodeConflict, "rollout %s has ended", e.ID)
	}
	row.CancelledAt = t.now
	t.put(key, row)
	p := t.progressOf(e.ID)
	p.State = api.RolloutCancelled
	for _, r := range p.Regions {
		if n := r.Counts[api.StatePending]; n > 0 {
			r.Counts[api.StateCancelled] += n
			delete(r.Counts, api.StatePending)
		}
	}
	active.row = row
	active.pending = roaring.New()
	return nil
}
