package state

import (
	"time"

	"redflag/api"
)

// ChangeCA moves a roll-over of the cluster's CA from one stage to the next.
// Bundle and keys are the caller's, who has them in the clear; Version, that of
// the bundle that it started from, keeps two callers apart.
type ChangeCA struct {
	Version     uint64      `cbor:"1,keyasint"`
	Stage       api.CAStage `cbor:"2,keyasint"`
	Authorities []byte      `cbor:"3,keyasint"` // PEM, the one that signs first
	SealedKey   []byte      `cbor:"4,keyasint"` // of the one that signs
	SealedNext  []byte      `cbor:"5,keyasint,omitempty"`
}

func (ChangeCA) entryType() EntryType { return TypeChangeCA }

func (e ChangeCA) apply(t *tx) []*api.Error {
	var c Cluster
	if !t.get(keyCluster, &c) {
		return one(notFounded())
	}
	if e.Version != c.CAVersion {
		return one(api.Errorf(api.CodeConflict, "the CA bundle changed meanwhile").WithHint("redflag ca status"))
	}
	if len(e.Authorities) == 0 || len(e.SealedKey) == 0 {
		return one(api.Errorf(api.CodeInvalid, "the CA bundle is empty"))
	}
	if next := map[api.CAStage]api.CAStage{
		api.CASteady: api.CASpread, api.CASpread: api.CAReissue, api.CAReissue: api.CASteady,
	}; next[c.CAStage] != e.Stage {
		return one(api.Errorf(api.CodeConflict, "stage %q cannot follow %q", e.Stage, c.CAStage))
	}
	c.Authorities, c.SealedCAKey, c.SealedNextCAKey = e.Authorities, e.SealedKey, e.SealedNext
	c.CAStage, c.CAVersion, c.CASince = e.Stage, t.index, t.now
	t.putCluster(c)
	return one(nil)
}

// ConfirmTrust notes which CA bundle members have, and who signed their
// certificates. A member that is not known is passed over.
type ConfirmTrust struct {
	Members []Confirmation `cbor:"1,keyasint"`
}

// Confirmation is one member's.
type Confirmation struct {
	Node    bool   `cbor:"1,keyasint,omitempty"`
	ID      string `cbor:"2,keyasint"`
	Version uint64 `cbor:"3,keyasint"`
	Issuer  string `cbor:"4,keyasint"`
}

func (ConfirmTrust) entryType() EntryType { return TypeConfirmTrust }

func (e ConfirmTrust) apply(t *tx) []*api.Error {
	out := make([]*api.Error, len(e.Members))
	for i, c := range e.Members {
		out[i] = c.confirm(t)
	}
	return out
}

func (c Confirmation) confirm(t *tx) *api.Error {
	if len(c.Issuer) > 64 {
		return api.Errorf(api.CodeInvalid, "the issuer is no key id")
	}
	if c.Node {
		var n api.Node
		if t.get(idKey(keyNode, c.ID), &n) {
			n.Confirmed, n.Issuer = c.Version, c.Issuer
			t.put(idKey(keyNode, c.ID), n)
		}
		return nil
	}
	var row agentRow
	if t.get(idKey(keyAgent, c.ID), &row) {
		row.Confirmed, row.Issuer = c.Version, c.Issuer
		t.putAgent(row)
	}
	return nil
}

// RevokeAgent puts an agent out: its certificate counts no more, and no later
// rollout has it as a member. The id can be enrolled again, with another key.
type RevokeAgent struct {
	ID string `cbor:"1,keyasint"`
	// Until is when the last certificate for its key ends: from then on the
	// revocation list need not name it.
	Until time.Time `cbor:"2,keyasint"`
}

func (RevokeAgent) entryType() EntryType { return TypeRevokeAgent }

func (e RevokeAgent) apply(t *tx) []*api.Error {
	var row agentRow
	if !t.get(idKey(keyAgent, e.ID), &row) {
		return one(api.Errorf(api.CodeNotFound, "agent %q is not known", e.ID))
	}
	if !row.Agent.RevokedAt.IsZero() {
		return one(nil)
	}
	row.Agent.RevokedAt = t.now
	t.putAgent(row)
	t.machine.index.removeAgent(&row.Agent, row.Ordinal)
	t.revoke(row.Agent.KeyID, e.Until)
	return one(nil)
}

// revocation is a key that counts no more.
type revocation struct {
	KeyID string    `cbor:"1,keyasint"`
	At    time.Time `cbor:"2,keyasint"`
	Until time.Time `cbor:"3,keyasint"`
}

// revoke puts a key on the revocation list, and takes off it what has ended.
func (t *tx) revoke(keyID string, until time.Time) {
	if until.IsZero() {
		until = t.now.Add(revokedFor)
	}
	var ended [][]byte
	from, to := kindSpan(keyRevoked)
	if t.err == nil {
		t.err = scanRows(t.batch, from, to, func(k, v []byte) (bool, error) {
			var r revocation
			err := unmarshal(v, &r)
			if r.Until.Before(t.now) {
				ended = append(ended, append([]byte(nil), k...))
			}
			return true, err
		})
	}
	x := t.machine.index
	for _, k := range ended {
		t.delete(k)
		delete(x.revoked, string(k[1:]))
	}
	t.put(idKey(keyRevoked, keyID), revocation{KeyID: keyID, At: t.now, Until: until})
	t.put(keyRevocations, t.index)
	x.revoked[keyID], x.revocations = struct{}{}, t.index
}

// revokedFor is longer than any certificate lives.
const revokedFor = 367 * 24 * time.Hour

// Revoked reports whether the key of a member was put out.
func (m *Machine) Revoked(keyID string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.index.revoked[keyID]
	return ok
}

// Revocations returns the keys that were put out, and the version of the list.
func (m *Machine) Revocations() (version uint64, keyIDs []string) {
	m.read(keyRevocations, &version)
	for _, r := range readAll[revocation](m, keyRevoked) {
		keyIDs = append(keyIDs, r.KeyID)
	}
	return version, keyIDs
}

// RevocationVersion returns the version of the revocation list alone.
func (m *Machine) RevocationVersion() uint64 {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.index.revocations
}

// Unconfirmed names up to limit members that have not confirmed a CA bundle, or
// whose certificate another authority signed; an empty issuer does not matter.
func (m *Machine) Unconfirmed(version uint64, issuer string, limit int) []string {
	var out []string
	lacks := func(v uint64, by string) bool { return v < version || (issuer != "" && by != issuer) }
	for _, n := range m.Nodes() {
		if len(out) < limit && lacks(n.Confirmed, n.Issuer) {
			out = append(out, n.ID)
		}
	}
	from, to := kindSpan(keyAgent)
	it, err := m.rows(from, to)
	if err != nil {
		return out
	}
	for ok := it.First(); ok && len(out) < limit; ok = it.Next() {
		var row agentRow
		if err := unmarshal(it.Value(), &row); err != nil {
			m.fail(err)
			break
		}
		if row.Agent.RevokedAt.IsZero() && lacks(row.Confirmed, row.Issuer) {
			out = append(out, row.Agent.ID)
		}
	}
	m.fail(it.Close())
	return out
}
