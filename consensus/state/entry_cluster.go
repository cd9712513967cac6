package state

import (
	"bytes"
	"crypto/sha256"

	"redflag/api"
)

// InitCluster founds the cluster. It happens once; a repeat with the same
// content is accepted, any other is a conflict.
type InitCluster struct {
	ClusterID         string `cbor:"1,keyasint"`
	Authorities       []byte `cbor:"2,keyasint"` // PEM, the cluster's CA bundle
	SealedCAKey       []byte `cbor:"3,keyasint"`
	SealedOnlineKey   []byte `cbor:"4,keyasint"`
	OnlineKeyPublic   []byte `cbor:"5,keyasint"` // PKIX DER
	OperatorTokenHash []byte `cbor:"6,keyasint"` // SHA-256
}

func (InitCluster) entryType() EntryType { return TypeInitCluster }

func (e InitCluster) apply(t *tx) []*api.Error {
	if err := api.CheckID("cluster id", e.ClusterID); err != nil {
		return one(refusal(err))
	}
	if len(e.OperatorTokenHash) != sha256.Size {
		return one(api.Errorf(api.CodeInvalid, "the operator token's hash is not a SHA-256"))
	}
	var have Cluster
	if t.get(keyCluster, &have) {
		if !e.founded(&have) {
			return one(api.Errorf(api.CodeConflict, "cluster %s is already founded", have.ID))
		}
		return one(nil)
	}
	t.putCluster(Cluster{
		ID:                e.ClusterID,
		Authorities:       e.Authorities,
		SealedCAKey:       e.SealedCAKey,
		SealedOnlineKey:   e.SealedOnlineKey,
		OnlineKeyPublic:   e.OnlineKeyPublic,
		OperatorTokenHash: e.OperatorTokenHash,
		CreatedAt:         t.now,
	})
	return one(nil)
}

// putCluster writes what the cluster is founded on to its row and to memory:
// each poll asks for it.
func (t *tx) putCluster(c Cluster) {
	t.put(keyCluster, c)
	t.machine.index.founded = &c
}

// founded reports whether c is what e founds.
func (e InitCluster) founded(c *Cluster) bool {
	return e.ClusterID == c.ID &&
		bytes.Equal(e.Authorities, c.Authorities) &&
		bytes.Equal(e.SealedCAKey, c.SealedCAKey) &&
		bytes.Equal(e.SealedOnlineKey, c.SealedOnlineKey) &&
		bytes.Equal(e.OnlineKeyPublic, c.OnlineKeyPublic) &&
		bytes.Equal(e.OperatorTokenHash, c.OperatorTokenHash)
}
