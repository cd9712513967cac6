package state

import (
	"time"

	"redflag/api"
)

// Cluster is what a cluster is founded on.
type Cluster struct {
	ID                string    `cbor:"1,keyasint"`
	Authorities       []byte    `cbor:"2,keyasint"` // PEM
	SealedCAKey       []byte    `cbor:"3,keyasint"`
	SealedOnlineKey   []byte    `cbor:"4,keyasint"`
	OnlineKeyPublic   []byte    `cbor:"5,keyasint"` // PKIX DER
	OperatorTokenHash []byte    `cbor:"6,keyasint"` // SHA-256
	CreatedAt         time.Time `cbor:"7,keyasint"`
	// The online key that the next root is to name.
	SealedNextOnlineKey []byte `cbor:"8,keyasint,omitempty"`
	NextOnlineKeyPublic []byte `cbor:"9,keyasint,omitempty"`
	// A roll-over of the CA: its stage, and the key of the next authority.
	SealedNextCAKey []byte      `cbor:"10,keyasint,omitempty"`
	CAStage         api.CAStage `cbor:"11,keyasint,omitempty"`
	CAVersion       uint64      `cbor:"12,keyasint,omitempty"` // log index of the bundle's last change
	CASince         time.Time   `cbor:"13,keyasint,omitzero"`
}

type tokenRow struct {
	Token      api.Token `cbor:"1,keyasint"`
	SecretHash []byte    `cbor:"2,keyasint"`
}

type agentRow struct {
	Agent   api.Agent `cbor:"1,keyasint"`
	Ordinal uint32    `cbor:"2,keyasint"` // the agent's bit in every bitmap
	TokenID string    `cbor:"3,keyasint"`
	// Confirmed is the newest CA bundle that the agent has, and Issuer the
	// authority of its certificate.
	Confirmed uint64 `cbor:"40,keyasint,omitempty"`
	Issuer    string `cbor:"41,keyasint,omitempty"`
}

type settingsRow struct {
	Version uint64                    `cbor:"1,keyasint"`
	Values  map[api.SettingKey]string `cbor:"2,keyasint"`
	By      string                    `cbor:"3,keyasint,omitempty"`
	// Details says who set what when; values of the first entry type have none.
	Details map[api.SettingKey]settingDetail `cbor:"4,keyasint,omitempty"`
	// Changes counts the changes of all layers. It stands in the cluster's row.
	Changes uint64 `cbor:"5,keyasint,omitempty"`
}

type settingDetail struct {
	By      string    `cbor:"1,keyasint,omitempty"`
	At      time.Time `cbor:"2,keyasint"`
	Expires time.Time `cbor:"3,keyasint,omitzero"`
	Change  uint64    `cbor:"4,keyasint"`
}

// rolloutRow is what a rollout was created as. Its members are a bitmap in a
// row of their own, since they never change and can be large.
type rolloutRow struct {
	ID            string       `cbor:"1,keyasint"`
	Kind          api.Kind     `cbor:"2,keyasint"`
	Artifact      string       `cbor:"3,keyasint"`
	Version       string       `cbor:"4,keyasint,omitempty"`
	Selector      api.Selector `cbor:"5,keyasint"`
	CorrelationID string       `cbor:"6,keyasint,omitempty"`
	CreatedBy     string       `cbor:"7,keyasint,omitempty"`
	CreatedAt     time.Time    `cbor:"8,keyasint"`
	Index         uint64       `cbor:"9,keyasint"` // log index of the creation
	Agents        int          `cbor:"10,keyasint"`
	// CancelledAt is when the rollout was cancelled: a member without an
	// execution row is cancelled since then, and pending otherwise.
	CancelledAt time.Time `cbor:"11,keyasint,omitzero"`
	Plan        api.Plan  `cbor:"12,keyasint"`
	RollbackOf  string    `cbor:"13,keyasint,omitempty"`
	RetryOf     string    `cbor:"14,keyasint,omitempty"`
	ExpiresAt   time.Time `cbor:"15,keyasint"`
	// ExpiredAt is when it expired with commands that were never leased: they
	// have timed out since then.
	ExpiredAt time.Time `cbor:"16,keyasint,omitzero"`
	// Steps is where each wave ends, of a plan whose waves are regions.
	Steps []int `cbor:"17,keyasint,omitempty"`
}

// over is when the rollout ended for commands that wait, zero if it did not.
func (r *rolloutRow) over() time.Time {
	if !r.CancelledAt.IsZero() {
		return r.CancelledAt
	}
	return r.ExpiredAt
}

// progressRow changes with every lease and report.
type progressRow struct {
	State   api.RolloutState      `cbor:"1,keyasint"`
	Regions map[string]*regionRow `cbor:"2,keyasint"`
	Reason  string                `cbor:"3,keyasint,omitempty"` // why it is paused or halted
	Wave    int                   `cbor:"4,keyasint"`           // counts from 1
	// Released counts the agents that the waves so far hold, and Size those of
	// the wave that is open.
	Released int `cbor:"5,keyasint"`
	Size     int `cbor:"6,keyasint"`
	// Succeeded and Failed are the counts when the wave opened.
	Succeeded int `cbor:"7,keyasint"`
	Failed    int `cbor:"8,keyasint"`
	Joined    int `cbor:"9,keyasint,omitempty"` // agents that came later
}

// wave is how the wave that is open stands.
func (p *progressRow) wave() api.WaveCounts {
	return api.WaveCounts{Agents: p.Size, Succeeded: p.count(succeeded) - p.Succeeded, Failed: p.count(api.State.Failed) - p.Failed}
}

// count adds up the agents in the states that want picks.
func (p *progressRow) count(want func(api.State) bool) int {
	n := 0
	for _, r := range p.Regions {
		for s, c := range r.Counts {
			if want(s) {
				n += c
			}
		}
	}
	return n
}

type regionRow struct {
	Counts   map[api.State]int `cbor:"1,keyasint"`
	Transfer api.Transfer      `cbor:"2,keyasint"`
}

// open counts the commands that have not ended.
func (p *progressRow) open() int {
	return p.count(func(s api.State) bool { return !s.Terminal() })
}

// endWaiting moves every pending command to a terminal state at once.
func (p *progressRow) endWaiting(to api.State) {
	for _, r := range p.Regions {
		if n := r.Counts[api.StatePending]; n > 0 {
			r.Counts[to] += n
			delete(r.Counts, api.StatePending)
		}
	}
}

// move counts one command of a region from one state to another.
func (p *progressRow) move(region string, from, to api.State) {
	counts := p.Regions[region].Counts
	if counts[from]--; counts[from] == 0 {
		delete(counts, from)
	}
	counts[to]++
}

// executionRow is one agent's command in its latest try. It appears with the
// first lease: until then the rollout and its bitmap say everything. It is
// pending again while a repeat waits.
type executionRow struct {
	State      api.State     `cbor:"1,keyasint"`
	Attempt    int           `cbor:"2,keyasint"`
	LeasedBy   string        `cbor:"3,keyasint"` // node
	LeasedAt   time.Time     `cbor:"4,keyasint"`
	LeaseUntil time.Time     `cbor:"5,keyasint"`
	StartedAt  time.Time     `cbor:"6,keyasint,omitzero"`
	EndedAt    time.Time     `cbor:"7,keyasint,omitzero"`
	Failure    *api.Failure  `cbor:"8,keyasint,omitempty"`
	Transfer   *api.Transfer `cbor:"9,keyasint,omitempty"`
	// Reports are the ids that changed the row: one per rise in rank.
	Reports       []string  `cbor:"10,keyasint,omitempty"`
	Try           int       `cbor:"11,keyasint,omitempty"` // 0 is the first one, like 1
	NotBefore     time.Time `cbor:"12,keyasint,omitzero"`
	Deadline      time.Time `cbor:"13,keyasint,omitzero"`
	CancelAt      time.Time `cbor:"14,keyasint,omitzero"`
	CancelRefused string    `cbor:"15,keyasint,omitempty"`
	Earlier       []tryRow  `cbor:"16,keyasint,omitempty"`
	End           uint64    `cbor:"17,keyasint,omitempty"` // log index of the end
	// Trimmed says that only the state is left here.
	Trimmed bool `cbor:"18,keyasint,omitempty"`
}

// tryRow is what is kept of a try that failed and was repeated.
type tryRow struct {
	LeasedAt  time.Time    `cbor:"1,keyasint"`
	StartedAt time.Time    `cbor:"2,keyasint,omitzero"`
	EndedAt   time.Time    `cbor:"3,keyasint"`
	Failure   *api.Failure `cbor:"4,keyasint,omitempty"`
	Report    string       `cbor:"5,keyasint"` // the id of the report that ended it
	Created   time.Time    `cbor:"6,keyasint"`
	Attempt   int          `cbor:"7,keyasint"`
}

func (x *executionRow) try() int {
	if x == nil {
		return 1
	}
	return max(1, x.Try)
}

// command returns the latest try of a member whose execution row is x, nil for
// none.
func (r *rolloutRow) command(agentID, region string, x *executionRow) api.Command {
	c := r.blank(agentID, region, x.try())
	c.State = r.stateOf(x)
	c.Deadline = r.ExpiresAt
	if c.State.Terminal() {
		c.Deadline, c.EndedAt = time.Time{}, r.over()
	}
	if x == nil {
		return c
	}
	c.Attempt, c.NotBefore, c.Archived = x.Attempt, x.NotBefore, x.Trimmed
	c.LeasedAt, c.LeaseUntil = x.LeasedAt, x.LeaseUntil
	c.StartedAt = x.StartedAt
	c.CancelAt, c.CancelRefused = x.CancelAt, x.CancelRefused
	c.Failure, c.Transfer = x.Failure, x.Transfer
	if !x.Deadline.IsZero() {
		c.Deadline = x.Deadline
	}
	if !x.EndedAt.IsZero() {
		c.EndedAt = x.EndedAt
	}
	if c.CancelAt.IsZero() && x.State.Rank() > 0 && !r.CancelledAt.IsZero() && (x.EndedAt.IsZero() || x.EndedAt.After(r.CancelledAt)) {
		c.CancelAt = r.CancelledAt
	}
	if n := len(x.Earlier); n > 0 {
		c.CreatedAt = x.Earlier[n-1].EndedAt
	}
	return c
}

// earlier returns a try that failed and was repeated, counting from 0.
func (r *rolloutRow) earlier(agentID, region string, x *executionRow, n int) api.Command {
	e := x.Earlier[n]
	c := r.blank(agentID, region, n+1)
	c.State, c.Failure, c.Attempt, c.Repeated = api.StateFailed, e.Failure, e.Attempt, true
	c.CreatedAt, c.LeasedAt, c.StartedAt, c.EndedAt = e.Created, e.LeasedAt, e.StartedAt, e.EndedAt
	return c
}

// blank is a command of which only the rollout's part is filled in.
func (r *rolloutRow) blank(agentID, region string, try int) api.Command {
	c := api.Command{
		ID:            api.TryID(r.ID, agentID, try),
		RolloutID:     r.ID,
		AgentID:       agentID,
		Region:        region,
		RetryOf:       r.RetryOf,
		Kind:          r.Kind,
		Artifact:      r.Artifact,
		Version:       r.Version,
		CorrelationID: r.CorrelationID,
		CreatedAt:     r.CreatedAt,
	}
	if try > 1 {
		c.RetryOf = api.TryID(r.ID, agentID, try-1)
	}
	return c
}

// stateOf returns the state of a member whose execution row is x, nil for
// none. What waits ends with its rollout, without a row being written.
func (r *rolloutRow) stateOf(x *executionRow) api.State {
	switch {
	case x != nil && x.State != api.StatePending:
		return x.State
	case !r.CancelledAt.IsZero():
		return api.StateCancelled
	case !r.ExpiredAt.IsZero():
		return api.StateTimedOut
	default:
		return api.StatePending
	}
}
