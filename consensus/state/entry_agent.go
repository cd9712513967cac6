package state

import (
	"encoding/binary"
	"maps"
	"time"

	"redflag/api"
)

// EnrolAgent makes a machine an agent. A repeat with the same key is accepted
// and takes no second seat; a known id with another key, and the id of a node,
// is a conflict. The token's labels are merged in and win.
type EnrolAgent struct {
	Agent           api.Agent `cbor:"1,keyasint"` // EnrolledAt is not the caller's
	TokenID         string    `cbor:"2,keyasint"`
	TokenSecretHash []byte    `cbor:"3,keyasint"` // SHA-256
}

func (EnrolAgent) entryType() EntryType { return TypeEnrolAgent }

func (e EnrolAgent) apply(t *tx) []*api.Error { return one(e.enrol(t)) }

func (e EnrolAgent) enrol(t *tx) *api.Error {
	if err := e.validate(); err != nil {
		return err
	}
	token, refused := t.token(api.TokenAgent, e.TokenID, e.TokenSecretHash)
	if refused != nil {
		return refused
	}
	var have agentRow
	if t.get(idKey(keyAgent, e.Agent.ID), &have) && !have.Agent.RevokedAt.IsZero() {
		return e.readmit(t, &have)
	}
	if have.Agent.ID != "" {
		if have.Agent.KeyID == e.Agent.KeyID && have.Agent.Machine != e.Agent.Machine {
			have.Agent.Machine = e.Agent.Machine // whoever has a token may move the disk
			t.putAgent(have)
		}
		if have.Agent.KeyID != e.Agent.KeyID {
			return api.Errorf(api.CodeConflict, "agent %s is enrolled with another key", e.Agent.ID).
				WithHint("choose another id, or restore the agent's key")
		}
		return nil
	}
	if t.get(idKey(keyNode, e.Agent.ID), &api.Node{}) {
		return taken(e.Agent.ID, "a node")
	}
	a := e.Agent
	a.EnrolledAt = t.now
	a.Labels = maps.Clone(e.Agent.Labels)
	if a.Labels == nil {
		a.Labels = map[string]string{}
	}
	maps.Copy(a.Labels, token.Token.Labels)
	if err := api.CheckLabels(a.Labels); err != nil {
		return refusal(err)
	}
	if err := t.takeSeat(api.TokenAgent, e.TokenID, e.TokenSecretHash); err != nil {
		return err
	}
	ordinal := t.nextOrdinal()
	t.machine.index.addAgent(&a, ordinal)
	t.putAgent(agentRow{Agent: a, Ordinal: ordinal, TokenID: e.TokenID})
	t.join(&a, ordinal)
	return nil
}

// readmit takes back an agent that was put out, with another key.
func (e EnrolAgent) readmit(t *tx, have *agentRow) *api.Error {
	if have.Agent.KeyID == e.Agent.KeyID {
		return api.Errorf(api.CodeDenied, "agent %s was put out with this key", e.Agent.ID).
			WithHint("remove its data directory, and enrol it with a new key")
	}
	if err := t.takeSeat(api.TokenAgent, e.TokenID, e.TokenSecretHash); err != nil {
		return err
	}
	have.Agent.KeyID, have.Agent.Machine, have.Agent.RevokedAt = e.Agent.KeyID, e.Agent.Machine, time.Time{}
	have.Agent.EnrolledAt, have.Confirmed, have.Issuer = t.now, 0, ""
	t.machine.index.addAgent(&have.Agent, have.Ordinal)
	t.putAgent(*have)
	return nil
}

func (e EnrolAgent) validate() *api.Error {
	if err := api.CheckID("agent", e.Agent.ID); err != nil {
		return refusal(err)
	}
	if err := api.CheckID("region", e.Agent.Region); err != nil {
		return refusal(err)
	}
	if err := api.CheckLabels(e.Agent.Labels); err != nil {
		return refusal(err)
	}
	return checkKeyID(e.Agent.KeyID)
}

// taken refuses an id that a member of the other kind has: people and logs name
// machines by their ids alone.
func taken(id, owner string) *api.Error {
	return api.Errorf(api.CodeConflict, "%s is the name of %s", id, owner).WithHint("choose another --id")
}

// nextOrdinal draws a number that no agent had before.
func (t *tx) nextOrdinal() uint32 {
	var next uint32
	if t.err == nil {
		t.err = viewRow(t.batch, keyOrdinal, func(b []byte) error {
			next = binary.BigEndian.Uint32(b)
			return nil
		})
	}
	t.putBytes(keyOrdinal, binary.BigEndian.AppendUint32(nil, next+1))
	return next
}
