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
}

type tokenRow struct {
	Token      api.Token `cbor:"1,keyasint"`
	SecretHash []byte    `cbor:"2,keyasint"`
}

type agentRow struct {
	Agent   api.Agent `cbor:"1,keyasint"`
	Ordinal uint32    `cbor:"2,keyasint"` // the agent's bit in every bitmap
	TokenID string    `cbor:"3,keyasint"`
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
}

// progressRow changes with every lease and report.
type progressRow struct {
	State   api.RolloutState      `cbor:"1,keyasint"`
	Regions map[string]*regionRow `cbor:"2,keyasint"`
}

type regionRow struct {
	Counts   map[api.State]int `cbor:"1,keyasint"`
	Transfer api.Transfer      `cbor:"2,keyasint"`
}

// open counts the commands that have not ended.
func (p *progressRow) open() int {
	n := 0
	for _, r := range p.Regions {
		n += r.Counts[api.StatePending] + r.Counts[api.StateLeased] + r.Counts[api.StateRunning]
	}
	return n
}

// move counts one command of a region from one state to another.
func (p *progressRow) move(region string, from, to api.State) {
	counts := p.Regions[region].Counts
	if counts[from]--; counts[from] == 0 {
		delete(counts, from)
	}
	counts[to]++
}

// executionRow is one agent's command. It appears with the first lease: until
// then the rollout and its bitmap say everything.
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
	Reports []string `cbor:"10,keyasint,omitempty"`
}

func (r *rolloutRow) command(agentID, region string, x *executionRow) api.Command {
	c := api.Command{
		ID:            api.CommandID(r.ID, agentID),
		RolloutID:     r.ID,
		AgentID:       agentID,
		Region:        region,
		Kind:          r.Kind,
		Artifact:      r.Artifact,
		Version:       r.Version,
		CorrelationID: r.CorrelationID,
		CreatedAt:     r.CreatedAt,
		State:         r.stateOf(x),
	}
	if x == nil {
		c.EndedAt = r.CancelledAt
		return c
	}
	c.Attempt = x.Attempt
	c.LeasedAt, c.LeaseUntil = x.LeasedAt, x.LeaseUntil
	c.StartedAt, c.EndedAt = x.StartedAt, x.EndedAt
	c.Failure, c.Transfer = x.Failure, x.Transfer
	return c
}

// stateOf returns the state of a member whose execution row is x, nil for none.
func (r *rolloutRow) stateOf(x *executionRow) api.State {
	switch {
	case x != nil:
		return x.State
	case !r.CancelledAt.IsZero():
		return api.StateCancelled
	default:
		return api.StatePending
	}
}
