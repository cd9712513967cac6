package state

import (
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/cockroachdb/pebble/v2"

	"redflag/api"
)

// index is what the machine keeps in memory, derived from the rows: who the
// agents are by ordinal, and who still has something to do. With it a rollout
// to 100,000 agents is a few bitmap operations, and the poll of an agent with
// nothing to do reads no store.
type index struct {
	ordinals map[string]uint32
	agents   []member    // by ordinal
	rows     []*agentRow // by ordinal; replaced, never changed
	words    map[string]string
	all      *roaring.Bitmap
	byRegion map[string]*roaring.Bitmap
	byLabel  map[string]*roaring.Bitmap // "key=value"

	settings    *settingsIndex
	founded     *Cluster            // nil before the cluster is; replaced, never changed
	revocations uint64              // version of the revocation list
	revoked     map[string]struct{} // key ids; every handshake asks for one

	coordinators map[string]api.Coordinator // by region

	active []*activeRollout // in order of creation
	byID   map[string]*activeRollout
}

// cluster returns the settings of the cluster's own layer.
func (x *index) cluster() api.Settings {
	return api.Settings{Values: x.settings.rows[string(api.LayerCluster)].row.Values}
}

// member is the part of an agent that every command of it shows.
type member struct{ id, region string }

// activeRollout is a rollout with commands that have not ended.
type activeRollout struct {
	row     rolloutRow
	state   api.RolloutState
	reason  string
	wave    int
	waves   []int           // how many agents are released once each is open
	pending *roaring.Bitmap // released and never leased
	waiting *roaring.Bitmap // of a wave that is not open
	repeats *roaring.Bitmap // failed, to be repeated
	open    *roaring.Bitmap // leased or running
	cancels *roaring.Bitmap // open, and an operator wants it cancelled
	refused *roaring.Bitmap // open, and its agent would not cancel it
}

func newActive(row *rolloutRow) *activeRollout {
	return &activeRollout{
		row: *row, pending: roaring.New(), waiting: roaring.New(), repeats: roaring.New(),
		open: roaring.New(), cancels: roaring.New(), refused: roaring.New(),
	}
}

// unwanted reports whether the agent is to be asked to cancel.
func (a *activeRollout) unwanted(ordinal uint32) bool {
	return a.open.Contains(ordinal) && !a.refused.Contains(ordinal) &&
		(!a.row.CancelledAt.IsZero() || a.cancels.Contains(ordinal))
}

// clearWaiting forgets everyone who waits.
func (a *activeRollout) clearWaiting() {
	a.pending, a.waiting, a.repeats = roaring.New(), roaring.New(), roaring.New()
}

// place moves a member to the set that its execution row says.
func (a *activeRollout) place(ordinal uint32, x *executionRow) {
	for _, set := range []*roaring.Bitmap{a.pending, a.waiting, a.repeats, a.open, a.cancels, a.refused} {
		set.Remove(ordinal)
	}
	switch {
	case x.State == api.StatePending:
		if a.row.over().IsZero() {
			a.repeats.Add(ordinal)
		}
	case !x.State.Terminal():
		a.open.Add(ordinal)
		if !x.CancelAt.IsZero() {
			a.cancels.Add(ordinal)
		}
		if x.CancelRefused != "" {
			a.refused.Add(ordinal)
		}
	}
}

func newIndex() *index {
	return &index{
		ordinals:     map[string]uint32{},
		words:        map[string]string{},
		revoked:      map[string]struct{}{},
		coordinators: map[string]api.Coordinator{},
		settings:     newSettingsIndex(),
		all:          roaring.New(),
		byRegion:     map[string]*roaring.Bitmap{},
		byLabel:      map[string]*roaring.Bitmap{},
		byID:         map[string]*activeRollout{},
	}
}

// loadIndex derives the index from the rows.
func loadIndex(r pebble.Reader) (*index, error) {
	x := newIndex()
	from, to := kindSpan(keyAgent)
	err := scanRows(r, from, to, func(_, value []byte) (bool, error) {
		var row agentRow
		err := unmarshal(value, &row)
		if err == nil {
			x.addAgent(&row.Agent, row.Ordinal)
			x.keep(row)
			if !row.Agent.RevokedAt.IsZero() {
				x.removeAgent(&row.Agent, row.Ordinal)
			}
		}
		return true, err
	})
	if err != nil {
		return nil, err
	}
	if err := x.settings.load(r); err != nil {
		return nil, err
	}
	var c Cluster
	if found, err := getRow(r, keyCluster, &c); err != nil {
		return nil, err
	} else if found {
		x.founded = &c
	}
	if _, err := getRow(r, keyRevocations, &x.revocations); err != nil {
		return nil, err
	}
	from, to = kindSpan(keyRevoked)
	err = scanRows(r, from, to, func(key, _ []byte) (bool, error) {
		x.revoked[string(key[1:])] = struct{}{}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	from, to = kindSpan(keyCoordinator)
	err = scanRows(r, from, to, func(_, value []byte) (bool, error) {
		var c api.Coordinator
		err := unmarshal(value, &c)
		x.coordinators[c.Region] = c
		return true, err
	})
	if err != nil {
		return nil, err
	}
	from, to = kindSpan(keyOrder)
	err = scanRows(r, from, to, func(_, value []byte) (bool, error) {
		return true, x.loadRollout(r, string(value))
	})
	return x, err
}

func (x *index) addAgent(a *api.Agent, ordinal uint32) {
	for uint32(len(x.agents)) <= ordinal {
		x.agents = append(x.agents, member{})
		x.rows = append(x.rows, nil)
	}
	if x.agents[ordinal].id == "" { // views read it meanwhile
		x.agents[ordinal] = member{a.ID, x.word(a.Region)}
	}
	x.ordinals[a.ID] = ordinal
	x.all.Add(ordinal)
	add(x.byRegion, a.Region, ordinal)
	for k, v := range a.Labels {
		add(x.byLabel, k+"="+v, ordinal)
	}
}

// keep has an agent's row at hand for its polls: each asks for it more than once.
func (x *index) keep(row agentRow) {
	row.Agent.ID, row.Agent.Region = x.agents[row.Ordinal].id, x.agents[row.Ordinal].region
	row.TokenID, row.Issuer = x.word(row.TokenID), x.word(row.Issuer)
	if len(row.Agent.Labels) == 0 {
		row.Agent.Labels = nil
	}
	x.rows[row.Ordinal] = &row
}

// word returns the one copy of a text that many rows have.
func (x *index) word(s string) string {
	if have, ok := x.words[s]; ok {
		return have
	}
	x.words[s] = s
	return s
}

// removeAgent takes an agent out of what selectors see. Its ordinal and its
// commands stay.
func (x *index) removeAgent(a *api.Agent, ordinal uint32) {
	x.all.Remove(ordinal)
	if set := x.byRegion[a.Region]; set != nil {
		set.Remove(ordinal)
	}
	for k, v := range a.Labels {
		if set := x.byLabel[k+"="+v]; set != nil {
			set.Remove(ordinal)
		}
	}
}

func add(sets map[string]*roaring.Bitmap, name string, ordinal uint32) {
	if sets[name] == nil {
		sets[name] = roaring.New()
	}
	sets[name].Add(ordinal)
}

// selected returns the ordinals of the agents that s matches, exactly those
// for which s.Matches holds.
func (x *index) selected(s api.Selector) *roaring.Bitmap {
	if s.IsEmpty() {
		return roaring.New()
	}
	out := x.all.Clone()
	if len(s.Regions) > 0 {
		regions := roaring.New()
		for _, name := range s.Regions {
			if set := x.byRegion[name]; set != nil {
				regions.Or(set)
			}
		}
		out.And(regions)
	}
	if len(s.Agents) > 0 {
		named := roaring.New()
		for _, id := range s.Agents {
			if ordinal, ok := x.ordinals[id]; ok {
				named.Add(ordinal)
			}
		}
		out.And(named)
	}
	for k, v := range s.Labels {
		set := x.byLabel[k+"="+v]
		if set == nil {
			return roaring.New()
		}
		out.And(set)
	}
	return out
}

func (x *index) addRollout(r *activeRollout) {
	x.active = append(x.active, r)
	x.byID[r.row.ID] = r
}

// retire forgets a rollout with nothing left to do.
func (x *index) retire(id string) {
	if x.byID[id] == nil {
		return
	}
	delete(x.byID, id)
	kept := make([]*activeRollout, 0, len(x.active))
	for _, r := range x.active {
		if r.row.ID != id {
			kept = append(kept, r)
		}
	}
	x.active = kept
}

// loadRollout adds a rollout to the index if it has not ended.
func (x *index) loadRollout(r pebble.Reader, id string) error {
	var p progressRow
	var row rolloutRow
	if _, err := getRow(r, idKey(keyProgress, id), &p); err != nil {
		return err
	}
	if _, err := getRow(r, idKey(keyRollout, id), &row); err != nil {
		return err
	}
	if retired(&row, &p) {
		return nil
	}
	a := newActive(&row)
	a.state, a.reason, a.wave, a.waves = p.State, p.Reason, p.Wave, waves(&row)
	if err := a.loadMembers(r); err != nil {
		return fmt.Errorf("load rollout %s: %w", id, err)
	}
	prefix := executionPrefix(id)
	err := scanRows(r, prefix, after(prefix), func(key, value []byte) (bool, error) {
		var row executionRow
		if err := unmarshal(value, &row); err != nil {
			return false, err
		}
		a.place(ordinalOf(key), &row)
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("load rollout %s: %w", id, err)
	}
	x.addRollout(a)
	return nil
}

// loadMembers sorts the members into those released and those of later waves.
func (a *activeRollout) loadMembers(r pebble.Reader) error {
	if !a.row.over().IsZero() {
		return nil // nobody waits any more
	}
	members, err := getMembers(r, a.row.ID)
	if err != nil {
		return err
	}
	if a.wave >= len(a.waves) {
		a.pending = members
		return nil
	}
	if a.pending, err = getBitmap(r, idKey(keyReleased, a.row.ID)); err != nil {
		return err
	}
	members.AndNot(a.pending)
	a.waiting = members
	return nil
}
