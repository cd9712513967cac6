package state

import (
	"errors"

	"redflag/api"
)

// Result is the outcome of one entry. It is CBOR, for a proposal that another
// node forwarded to the leader.
type Result struct {
	// Index is the entry's place in the log.
	Index uint64 `cbor:"1,keyasint"`
	// Errors has one element per record of the entry, nil where the record was
	// accepted. A refused record changed nothing.
	Errors []*api.Error `cbor:"2,keyasint"`
	// Parts says of a Batch how many of Errors belong to each of its records.
	Parts []int `cbor:"3,keyasint,omitempty"`
	// Outcomes are the commands that the entry ended. They do not travel.
	Outcomes []Outcome `cbor:"-"`
}

// Err returns the first refusal, or nil. It is what callers want of an entry
// with one record.
func (r Result) Err() error {
	for _, e := range r.Errors {
		if e != nil {
			return e
		}
	}
	return nil
}

// one is the outcome of an entry with a single record.
func one(e *api.Error) []*api.Error { return []*api.Error{e} }

// refusal returns err as what a caller is told, and nil for nil.
func refusal(err error) *api.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	return api.Errorf(api.CodeInvalid, "%v", err)
}
