package consensus

import (
	"bytes"
	"context"
	"errors"

	"github.com/fxamacker/cbor/v2"

	"redflag/api"
	"redflag/consensus/state"
)

// MaxForward bounds what HandleForward takes and what it answers, in bytes.
const MaxForward = state.MaxMetadataEntry

// answer is what the leader tells the node that forwarded a proposal.
type answer struct {
	Result state.Result `cbor:"1,keyasint"`
	Error  *api.Error   `cbor:"2,keyasint,omitempty"`
}

// forward sends an encoded entry to the leader.
func (c *Cluster) forward(ctx context.Context, id, addr string, entry []byte) (state.Result, error) {
	body, err := c.cfg.Forward(ctx, id, addr, entry)
	if err != nil {
		return state.Result{}, forwardError(err)
	}
	var a answer
	if len(body) > MaxForward || cbor.Unmarshal(body, &a) != nil {
		return state.Result{}, indeterminate()
	}
	if a.Error == nil {
		return a.Result, nil
	}
	if neverProposed(a.Error.Code) {
		return state.Result{}, errNotSent
	}
	return state.Result{}, a.Error
}

// forwardError maps an error of Config.Forward to what it means for the
// proposal.
func forwardError(err error) error {
	code := api.CodeOf(err)
	switch {
	case neverProposed(code):
		return errNotSent
	case code == api.CodeDenied, code == api.CodeUnauthenticated:
		return err // this node is not let in, and to repeat it would not help
	default:
		return indeterminate()
	}
}

// neverProposed reports whether a code says that the leader turned a proposal
// away before it got into the log, for a reason that passes.
func neverProposed(code api.Code) bool {
	return code == api.CodeUnavailable || code == api.CodeBehind || code == api.CodeRateLimited
}

// HandleForward commits a proposal that another node forwarded, and returns
// what its Forward is to return. Only the leader does; another node answers
// that it does not lead, and never forwards again. What is no entry is refused
// with CodeInvalid or CodeTooLarge before it gets near the log.
func (c *Cluster) HandleForward(ctx context.Context, body []byte) ([]byte, error) {
	var a answer
	result, err := c.handle(ctx, body)
	if err == nil {
		a.Result = result
	} else {
		a.Error = wireError(err)
	}
	return cbor.Marshal(a)
}

func (c *Cluster) handle(ctx context.Context, entry []byte) (state.Result, error) {
	if len(entry) > MaxForward {
		return state.Result{}, api.Errorf(api.CodeTooLarge, "a proposal of %d bytes is too large", len(entry))
	}
	if err := state.CheckEntry(entry); err != nil {
		return state.Result{}, err
	}
	if !c.IsLeader() {
		return state.Result{}, errNotSent
	}
	return c.commit(ctx, bytes.Clone(entry)) // Raft keeps it beyond this call
}

func wireError(err error) *api.Error {
	if errors.Is(err, errNotSent) {
		return unavailable()
	}
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	return api.Errorf(api.CodeInvalid, "the proposal is malformed")
}
