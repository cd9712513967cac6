package state

import (
	"time"

	"redflag/api"
)

// PutNode makes a machine a node of the cluster, or changes the address,
// the region and the vote of one. A new node needs a token, except for the first one. A known
// id with another key, and the id of an agent, is a conflict.
type PutNode struct {
	Node            api.Node `cbor:"1,keyasint"`
	TokenID         string   `cbor:"2,keyasint,omitempty"`
	TokenSecretHash []byte   `cbor:"3,keyasint,omitempty"`
}

func (PutNode) entryType() EntryType { return TypePutNode }

func (e PutNode) apply(t *tx) []*api.Error { return one(e.put(t)) }

func (e PutNode) put(t *tx) *api.Error {
	if err := e.validate(); err != nil {
		return err
	}
	key := idKey(keyNode, e.Node.ID)
	var have api.Node
	if t.get(key, &have) {
		if have.KeyID != e.Node.KeyID {
			return api.Errorf(api.CodeConflict, "node %s is enrolled with another key", e.Node.ID).
				WithHint("remove the node first, or choose another id")
		}
		have.Region, have.MeshAddr, have.NonVoter = e.Node.Region, e.Node.MeshAddr, e.Node.NonVoter
		t.put(key, have)
		return nil
	}
	if err := e.admit(t); err != nil {
		return err
	}
	node := e.Node
	node.EnrolledAt = t.now
	t.put(key, node)
	return nil
}

// admit refuses a new node that may not come in, and takes its seat.
func (e PutNode) admit(t *tx) *api.Error {
	first := !t.any(keyNode)
	if !first { // a stranger must not learn which ids exist
		if _, err := t.token(api.TokenNode, e.TokenID, e.TokenSecretHash); err != nil {
			return err
		}
	}
	if t.get(idKey(keyAgent, e.Node.ID), &agentRow{}) {
		return taken(e.Node.ID, "an agent")
	}
	if t.get(idKey(keyRevoked, e.Node.KeyID), &revocation{}) {
		return api.Errorf(api.CodeDenied, "node %s was removed with this key", e.Node.ID).
			WithHint("join with an empty --data-dir: the node then has a new key")
	}
	if first {
		return nil
	}
	return t.takeSeat(api.TokenNode, e.TokenID, e.TokenSecretHash)
}

func (e PutNode) validate() *api.Error {
	if err := api.CheckID("node", e.Node.ID); err != nil {
		return refusal(err)
	}
	if err := api.CheckID("region", e.Node.Region); err != nil {
		return refusal(err)
	}
	if e.Node.MeshAddr == "" || len(e.Node.MeshAddr) > maxAddress {
		return api.Errorf(api.CodeInvalid, "node %s needs a mesh address", e.Node.ID).
			WithHint("use host:port, %d bytes at most", maxAddress)
	}
	return checkKeyID(e.Node.KeyID)
}

// maxAddress bounds host:port in bytes: a DNS name is at most 253.
const maxAddress = 262

// checkKeyID refuses what is no SHA-256 in lower-case hex.
func checkKeyID(id string) *api.Error {
	if !isHexSHA256(id) {
		return api.Errorf(api.CodeInvalid, "key id is not a SHA-256 in lower-case hex")
	}
	return nil
}

func isHexSHA256(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// RemoveNode forgets a node, and puts its key on the revocation list: members
// refuse its certificate, and agents its orders.
type RemoveNode struct {
	ID string `cbor:"1,keyasint"`
}

func (RemoveNode) entryType() EntryType { return TypeRemoveNode }

func (e RemoveNode) apply(t *tx) []*api.Error {
	key := idKey(keyNode, e.ID)
	var n api.Node
	if !t.get(key, &n) {
		return one(api.Errorf(api.CodeNotFound, "node %q is not known", e.ID))
	}
	t.delete(key)
	t.revoke(n.KeyID, time.Time{})
	t.dismiss(e.ID)
	levels := t.levels()
	delete(levels.Nodes, e.ID)
	t.putLevels(levels)
	return one(nil)
}
