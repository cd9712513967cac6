package state

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"redflag/api"
)

// CreateRollout asks the agents that match Selector to do one thing, mostly
// with one artifact. A repeat with the same content is accepted.
type CreateRollout struct {
	ID            string       `cbor:"1,keyasint"`
	Kind          api.Kind     `cbor:"2,keyasint"`
	Artifact      string       `cbor:"3,keyasint"`
	Version       string       `cbor:"4,keyasint,omitempty"`
	Selector      api.Selector `cbor:"5,keyasint"`
	CorrelationID string       `cbor:"6,keyasint,omitempty"`
	CreatedBy     string       `cbor:"7,keyasint,omitempty"`
	// Plan is as the operator gave it, with every default that is not this
	// package's own written out.
	Plan *api.Plan `cbor:"8,keyasint,omitempty"`
	// RollbackOf undoes a rollout for Members, a bitmap of its agents.
	RollbackOf string `cbor:"9,keyasint,omitempty"`
	Members    []byte `cbor:"10,keyasint,omitempty"`
	// RetryOf repeats a command that failed, for its agent alone.
	RetryOf string `cbor:"11,keyasint,omitempty"`
}

func (CreateRollout) entryType() EntryType { return TypeCreateRollout }

func (e CreateRollout) apply(t *tx) []*api.Error { return one(e.create(t)) }

func (e CreateRollout) create(t *tx) *api.Error {
	if err := e.validate(); err != nil {
		return err
	}
	var have rolloutRow
	if t.get(idKey(keyRollout, e.ID), &have) {
		if !e.created(&have) {
			return api.Errorf(api.CodeConflict, "rollout %s exists with other content", e.ID)
		}
		return nil
	}
	if e.Kind != api.KindUpdatePackage && (e.Artifact != "" || e.Kind.NeedsArtifact()) && !t.hasArtifact(e.Artifact, e.Version) {
		return api.Errorf(api.CodeNotFound, "artifact %s %s is not published", e.Artifact, e.Version).
			WithHint("redflag publish uploads and signs it")
	}
	if err := e.checkRetry(t); err != nil {
		return err
	}
	members, err := e.members(t)
	if err != nil {
		return err
	}
	switch {
	case members.IsEmpty() && e.RollbackOf != "":
		return api.Errorf(api.CodeConflict, "no agent is left on which rollout %s succeeded", e.RollbackOf)
	case members.IsEmpty() && !e.plan().Dynamic:
		return api.Errorf(api.CodeInvalid, "no agent matches %q", e.Selector.String()).
			WithHint("redflag agents shows their regions and labels")
	}
	row := e.row(t, int(members.GetCardinality()))
	row.Steps = t.machine.index.regionSteps(&row.Plan, members)
	t.addRollout(row, members)
	return nil
}

func (e CreateRollout) plan() api.Plan {
	if e.Plan == nil {
		return api.Plan{}
	}
	return *e.Plan
}

func (e CreateRollout) validate() *api.Error {
	asked := api.CreateRolloutRequest{
		ID: e.ID, Kind: e.Kind, Artifact: e.Artifact, Version: e.Version, Selector: e.Selector, Plan: e.plan(),
		AllowUnknownKind: true, // a newer node may have proposed it
	}
	if err := asked.ValidateForm(); err != nil {
		return refusal(err)
	}
	if e.CorrelationID != "" && !api.ValidCorrelationID(e.CorrelationID) {
		return api.Errorf(api.CodeInvalid, "the correlation id is not a trace id")
	}
	if e.RollbackOf != "" && (e.Kind != api.KindRollback || e.plan().Dynamic) {
		return api.Errorf(api.CodeInvalid, "only a fixed rollout of kind %s undoes another", api.KindRollback)
	}
	return nil
}

// checkRetry refuses to repeat what has not failed, or as something else.
func (e CreateRollout) checkRetry(t *tx) *api.Error {
	if e.RetryOf == "" {
		return nil
	}
	_, agentID, ok := api.SplitCommandID(e.RetryOf)
	if !ok || len(e.Selector.Agents) != 1 || e.Selector.Agents[0] != agentID {
		return api.Errorf(api.CodeInvalid, "command %.300q is not one of the agent that would repeat it", e.RetryOf)
	}
	c, err := t.command(agentID, e.RetryOf)
	if err != nil {
		return err
	}
	if s := c.state(); !s.Failed() && s != api.StateCancelled {
		return api.Errorf(api.CodeConflict, "command %s is %s: only what has failed or was cancelled is repeated", e.RetryOf, s)
	}
	if c.past() {
		return api.Errorf(api.CodeConflict, "command %s was repeated already", e.RetryOf).
			WithHint("its latest try is %s", api.TryID(c.rollout.ID, agentID, c.row.try()))
	}
	o := &c.rollout
	if e.Kind != o.Kind || e.Artifact != o.Artifact || e.Version != o.Version {
		return api.Errorf(api.CodeConflict, "command %s was to %s %s %s", e.RetryOf, o.Kind, o.Artifact, o.Version)
	}
	return nil
}

// members returns whom the rollout is for.
func (e CreateRollout) members(t *tx) (*roaring.Bitmap, *api.Error) {
	if e.RollbackOf == "" {
		return t.machine.index.selected(e.Selector), nil
	}
	var of rolloutRow
	if !t.get(idKey(keyRollout, e.RollbackOf), &of) {
		return nil, api.Errorf(api.CodeNotFound, "rollout %.128q is not known", e.RollbackOf)
	}
	if of.Kind != api.KindInstall || of.Artifact != e.Artifact {
		return nil, api.Errorf(api.CodeConflict, "rollout %s did not install %s", of.ID, e.Artifact)
	}
	named, err := decodeBitmap(e.Members)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the members of the rollback are malformed")
	}
	members, err := getMembers(t.batch, of.ID)
	if err != nil {
		t.fail(err)
		return roaring.New(), nil
	}
	if named.AndCardinality(members) != named.GetCardinality() {
		return nil, api.Errorf(api.CodeConflict, "the rollback names agents that rollout %s was not for", of.ID)
	}
	named.And(t.machine.index.all) // who was put out meanwhile is in no region that could count it
	return named, nil
}

func (e CreateRollout) row(t *tx, agents int) rolloutRow {
	row := rolloutRow{
		ID: e.ID, Kind: e.Kind, Artifact: e.Artifact, Version: e.Version,
		Selector: e.Selector, CorrelationID: e.CorrelationID, CreatedBy: e.CreatedBy,
		CreatedAt: t.now, Index: t.index, Agents: agents,
		Plan: e.plan(), RollbackOf: e.RollbackOf, RetryOf: e.RetryOf,
	}
	row.ExpiresAt = t.now.Add(row.Plan.RolloutExpiry())
	return row
}

// created reports whether row is what e creates.
func (e CreateRollout) created(row *rolloutRow) bool {
	a, b := e.Selector, row.Selector
	return e.Kind == row.Kind && e.Artifact == row.Artifact && e.Version == row.Version &&
		a.All == b.All && slices.Equal(a.Regions, b.Regions) &&
		slices.Equal(a.Agents, b.Agents) && maps.Equal(a.Labels, b.Labels) &&
		e.RollbackOf == row.RollbackOf && e.RetryOf == row.RetryOf && equal(e.plan(), row.Plan)
}

// equal compares by encoding, which is one for equal values.
func equal(a, b any) bool {
	x, errX := marshal(a)
	y, errY := marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
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
	if err != nil {
		t.fail(err)
		return
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
	t.putBytes(row.deadline().key(keyDeadline), nil)
	t.progress[row.ID] = p
	a := newActive(&row)
	a.state, a.waiting, a.waves = p.State, members, waves(&row)
	t.machine.index.addRollout(a)
	t.release(a, p)
}

// deadline is the rollout's own place among the deadlines.
func (r *rolloutRow) deadline() place {
	return place{order: nanos(r.ExpiresAt), rollout: r.ID, whole: true}
}

func nanos(at time.Time) uint64 { return uint64(max(0, at.UnixNano())) }

// CancelRollout aborts a rollout: every command that no agent has is cancelled
// at once, and of the others their agents are asked to.
type CancelRollout struct {
	ID string `cbor:"1,keyasint"`
}

func (CancelRollout) entryType() EntryType { return TypeCancelRollout }

func (e CancelRollout) apply(t *tx) []*api.Error { return one(e.cancel(t)) }

func (e CancelRollout) cancel(t *tx) *api.Error {
	var row rolloutRow
	if !t.get(idKey(keyRollout, e.ID), &row) {
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
	p := t.progressOf(e.ID)
	t.setState(active, p, api.RolloutCancelled, "")
	p.endWaiting(api.StateCancelled)
	t.endRollout(active, row)
	return nil
}

// endRollout writes a row that nobody waits for any more.
func (t *tx) endRollout(a *activeRollout, row rolloutRow) {
	t.put(idKey(keyRollout, row.ID), row)
	t.delete(idKey(keyReleased, row.ID))
	a.row = row
	a.clearWaiting()
}
