package state

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"time"

	"redflag/api"
)

// keptAudit is how many records of the audit log stay in the replicated state.
const keptAudit = 100_000

// maxDetail bounds each text of an audit record, in bytes.
const maxDetail = 1024

// Audit appends to the audit log. Seq, time and hashes are not the caller's.
type Audit struct {
	Records []api.AuditRecord `cbor:"1,keyasint"`
}

func (Audit) entryType() EntryType { return TypeAudit }

func (e Audit) apply(t *tx) []*api.Error {
	out := make([]*api.Error, len(e.Records))
	for i, r := range e.Records {
		out[i] = t.audit(r)
	}
	return out
}

func (t *tx) audit(r api.AuditRecord) *api.Error {
	for _, s := range []*string{&r.Who, &r.Action, &r.Target, &r.Detail, &r.From, &r.Node, &r.CorrelationID} {
		if len(*s) > maxDetail {
			return api.Errorf(api.CodeInvalid, "a text of %d bytes is too long for the audit log", len(*s))
		}
	}
	var last api.AuditRecord
	t.get(keyAuditHead, &last)
	r.Seq, r.At, r.Prev = last.Seq+1, t.now, last.Hash
	r.Hash = r.Digest()
	t.put(auditKey(r.Seq), r)
	t.put(keyAuditHead, r)
	if r.Seq > keptAudit {
		t.delete(auditKey(r.Seq - keptAudit))
	}
	return nil
}

func auditKey(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keyAudit}, seq) }

// AuditLog returns up to limit records after a sequence number, in order.
func (m *Machine) AuditLog(after uint64, limit int) []api.AuditRecord {
	_, to := kindSpan(keyAudit)
	return m.auditLog(auditKey(after+1), to, limit, (*rows).First, (*rows).Next)
}

// AuditLogBefore returns up to limit records before a sequence number, 0 for the end
// of the log, the newest first.
func (m *Machine) AuditLogBefore(before uint64, limit int) []api.AuditRecord {
	from, to := kindSpan(keyAudit)
	if before > 0 {
		to = auditKey(before)
	}
	return m.auditLog(from, to, limit, (*rows).Last, (*rows).Prev)
}

func (m *Machine) auditLog(from, to []byte, limit int, begin, step func(*rows) bool) []api.AuditRecord {
	limit = page(limit)
	it, err := m.rows(from, to)
	if err != nil {
		return nil
	}
	var out []api.AuditRecord
	for ok := begin(it); ok && len(out) < limit; ok = step(it) {
		var r api.AuditRecord
		if err := unmarshal(it.Value(), &r); err != nil {
			m.fail(err)
			break
		}
		out = append(out, r)
	}
	m.fail(it.Close())
	return out
}

// PutOperator makes an API token for an operator. Only the hash of the secret
// is kept; a repeat with the same secret is accepted.
type PutOperator struct {
	Operator   api.Operator `cbor:"1,keyasint"` // CreatedAt and RevokedAt are not the caller's
	SecretHash []byte       `cbor:"2,keyasint"` // SHA-256
}

type operatorRow struct {
	Operator   api.Operator `cbor:"1,keyasint"`
	SecretHash []byte       `cbor:"2,keyasint"`
}

func (PutOperator) entryType() EntryType { return TypePutOperator }

func (e PutOperator) apply(t *tx) []*api.Error {
	if err := api.CheckID("operator", e.Operator.ID); err != nil {
		return one(refusal(err))
	}
	if e.Operator.Role.Rank() < 0 || len(e.SecretHash) != sha256.Size || e.Operator.ID == api.Founder {
		return one(api.Errorf(api.CodeInvalid, "the operator has no role, no secret or a reserved name"))
	}
	key := idKey(keyOperator, e.Operator.ID)
	var have operatorRow
	if t.get(key, &have) && have.Operator.Live(t.now) {
		if subtle.ConstantTimeCompare(have.SecretHash, e.SecretHash) == 1 {
			return one(nil)
		}
		return one(api.Errorf(api.CodeConflict, "operator %s has a token already", e.Operator.ID).
			WithHint("revoke it first: redflag operator revoke %s", e.Operator.ID))
	}
	row := operatorRow(e)
	row.Operator.CreatedAt, row.Operator.RevokedAt = t.now, time.Time{}
	t.put(key, row)
	return one(nil)
}

// RevokeOperator ends an operator's token. The last admin's does not end: nobody
// could make another.
type RevokeOperator struct {
	ID string `cbor:"1,keyasint"`
}

func (RevokeOperator) entryType() EntryType { return TypeRevokeOperator }

func (e RevokeOperator) apply(t *tx) []*api.Error {
	if e.ID == api.Founder {
		return one(t.revokeFounder())
	}
	key := idKey(keyOperator, e.ID)
	var row operatorRow
	if !t.get(key, &row) {
		return one(api.Errorf(api.CodeNotFound, "operator %q is not known", e.ID))
	}
	if !row.Operator.RevokedAt.IsZero() {
		return one(nil)
	}
	if row.Operator.Role == api.OperatorAdmin && row.Operator.Live(t.now) && t.admins() == 1 {
		return one(lastAdmin())
	}
	row.Operator.RevokedAt = t.now
	t.put(key, row)
	return one(nil)
}

func (t *tx) revokeFounder() *api.Error {
	var c Cluster
	if !t.get(keyCluster, &c) {
		return notFounded()
	}
	if len(c.OperatorTokenHash) > 0 && t.admins() == 1 {
		return lastAdmin()
	}
	c.OperatorTokenHash = nil
	t.putCluster(c)
	return nil
}

func lastAdmin() *api.Error {
	return api.Errorf(api.CodeConflict, "no other admin is left").
		WithHint("make one first: redflag operator create NAME --role admin")
}

// admins counts the tokens of admins that are valid, the founder's among them.
func (t *tx) admins() int {
	admins := 0
	var c Cluster
	if t.get(keyCluster, &c) && len(c.OperatorTokenHash) > 0 {
		admins++
	}
	from, to := kindSpan(keyOperator)
	if t.err == nil {
		t.err = scanRows(t.batch, from, to, func(_, v []byte) (bool, error) {
			var row operatorRow
			err := unmarshal(v, &row)
			if row.Operator.Role == api.OperatorAdmin && row.Operator.Live(t.now) {
				admins++
			}
			return true, err
		})
	}
	return admins
}

// Operators returns the operators in order of their ids.
func (m *Machine) Operators() []api.Operator {
	rows := readAll[operatorRow](m, keyOperator)
	out := make([]api.Operator, len(rows))
	for i, r := range rows {
		out[i] = r.Operator
	}
	return out
}

// Operator returns an operator and the hash of the token's secret.
func (m *Machine) Operator(id string) (api.Operator, []byte, bool) {
	var row operatorRow
	ok := m.read(idKey(keyOperator, id), &row)
	return row.Operator, row.SecretHash, ok
}
