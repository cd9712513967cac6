package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// AuditRecord is one line of the audit log: who did what, from where. Each
// holds the hash of the one before, so that none can be changed or taken out
// without every later one showing it.
type AuditRecord struct {
	Seq           uint64    `json:"seq" cbor:"1,keyasint"`
	At            time.Time `json:"at" cbor:"2,keyasint"`
	Who           string    `json:"who" cbor:"3,keyasint"`            // operator, node or agent
	Action        string    `json:"action" cbor:"4,keyasint"`         // such as "POST /v1/rollouts"
	Target        string    `json:"target" cbor:"5,keyasint"`         // path or command
	Detail        string    `json:"detail" cbor:"6,keyasint"`         // what was asked, cut short
	From          string    `json:"from" cbor:"7,keyasint"`           // address of the caller
	Node          string    `json:"node" cbor:"8,keyasint"`           // that took it
	CorrelationID string    `json:"correlation_id" cbor:"9,keyasint"` //
	Prev          string    `json:"prev" cbor:"10,keyasint"`          // hash of the record before
	Hash          string    `json:"hash" cbor:"11,keyasint"`          // of this one
}

// Digest returns what Hash must be: the SHA-256 of the record without it.
func (r AuditRecord) Digest() string {
	r.Hash = ""
	b, err := json.Marshal(r)
	if err != nil {
		return "" // it has no field that could fail
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// VerifyAudit returns the first record of a run that does not follow from the
// one before it, or nil. The first may follow anything.
func VerifyAudit(records []AuditRecord) *AuditRecord {
	for i := range records {
		r := &records[i]
		if r.Digest() != r.Hash || (i > 0 && (r.Prev != records[i-1].Hash || r.Seq != records[i-1].Seq+1)) {
			return r
		}
	}
	return nil
}
