package state

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"redflag/api"
)

// Bounds of a Batch. More records per entry only add to the slowest answers.
const (
	MaxBatchRecords = 256
	MaxBatchBytes   = 128 << 10 // of all bodies together
)

// Batch carries what several callers proposed at about the same time, so that
// they share one place in the log and one sync of the disk. Its records are
// applied in order, each as if it stood alone.
type Batch struct {
	Records []Record `cbor:"1,keyasint"`
}

// Record is one caller's share of a Batch: the encoded body of another type.
type Record struct {
	_    struct{} `cbor:",toarray"`
	Type EntryType
	Body cbor.RawMessage
}

// Batchable reports whether bodies of a type may travel in a Batch: those that
// come from every agent, and whose results do not depend on the log index.
func Batchable(typ EntryType) bool { return typ == TypeLease || typ == TypeReports }

// EncodeRecord encodes body as a record. It returns a CodeTooLarge error for
// one that must travel alone.
func EncodeRecord(typ EntryType, value any) (Record, error) {
	b, ok := value.(body)
	if !ok || b.entryType() != typ || !Batchable(typ) {
		return Record{}, fmt.Errorf("encode record: %T is no batchable body of type %d", value, typ)
	}
	enc, err := marshal(value)
	if err != nil {
		return Record{}, err
	}
	if len(enc) > MaxBatchBytes {
		return Record{}, api.Errorf(api.CodeTooLarge, "a change of %d bytes does not fit into a batch", len(enc))
	}
	return Record{Type: typ, Body: enc}, nil
}

// DecodeBatch returns the records of an encoded Batch that another node sent,
// every one of which Apply would take.
func DecodeBatch(entry []byte) ([]Record, error) {
	if TypeOfEntry(entry) != TypeBatch {
		return nil, fmt.Errorf("%w: no batch", ErrCorrupt)
	}
	if err := checkSize(TypeBatch, len(entry)); err != nil {
		return nil, err
	}
	b, _, err := decodeRecords(entry[entryHeader:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return b.Records, nil
}

// batch is a Batch with its records decoded.
type batch []body

func decodeBatch(b []byte) (body, error) {
	_, bodies, err := decodeRecords(b)
	return bodies, err
}

func decodeRecords(b []byte) (Batch, batch, error) {
	var raw Batch
	if err := unmarshal(b, &raw); err != nil {
		return raw, nil, err
	}
	if n := len(raw.Records); n == 0 || n > MaxBatchRecords {
		return raw, nil, fmt.Errorf("a batch of %d records", n)
	}
	out := make(batch, len(raw.Records))
	for i, r := range raw.Records {
		if !Batchable(r.Type) {
			return raw, nil, fmt.Errorf("type %d in a batch", r.Type)
		}
		var err error
		if out[i], err = bodies[r.Type](r.Body); err != nil {
			return raw, nil, err
		}
	}
	return raw, out, nil
}

func (Batch) entryType() EntryType { return TypeBatch }

// apply is there for the encoder: what is decoded is a batch.
func (Batch) apply(*tx) []*api.Error { panic("a Batch is decoded before it is applied") }

func (batch) entryType() EntryType { return TypeBatch }

func (e batch) apply(t *tx) []*api.Error {
	var errs []*api.Error
	t.parts = make([]int, len(e))
	for i, b := range e {
		part := b.apply(t)
		t.parts[i] = len(part)
		errs = append(errs, part...)
	}
	return errs
}

// Split returns the result of each record of a Batch.
func (r Result) Split() []Result {
	out := make([]Result, 0, len(r.Parts))
	rest := r.Errors
	for _, n := range r.Parts {
		n = min(n, len(rest))
		out = append(out, Result{Index: r.Index, Errors: rest[:n:n]})
		rest = rest[n:]
	}
	return out
}
