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
	// Records answers each record of a batch that got as far as the queue.
	Records []answer `cbor:"3,keyasint,omitempty"`
}

// lastIndex returns the place in the log of the last record that got there.
func (a answer) lastIndex() uint64 {
	var last uint64
	for i := range a.Records {
		last = max(last, a.Records[i].Result.Index)
	}
	return last
}

// outcome returns what became of one record.
func (a answer) outcome() (state.Result, error) {
	switch {
	case a.Error == nil:
		return a.Result, nil
	case a.Error.Code == api.CodeRateLimited:
		return state.Result{}, a.Error // the leader's queue is full: the caller is to slow down
	case neverProposed(a.Error.Code):
		return state.Result{}, errNotSent
	default:
		return state.Result{}, a.Error
	}
}

// forward sends an encoded entry to the leader.
func (c *Cluster) forward(ctx context.Context, id, addr string, entry []byte) (state.Result, error) {
	a, err := c.exchange(ctx, id, addr, entry)
	return a.Result, err
}

// exchange sends an encoded entry to the leader and returns the answer, unless
// that is an error as a whole.
func (c *Cluster) exchange(ctx context.Context, id, addr string, entry []byte) (answer, error) {
	body, err := c.cfg.Forward(ctx, id, addr, entry)
	if err != nil {
		return answer{}, forwardError(err)
	}
	var a answer
	if len(body) > MaxForward || cbor.Unmarshal(body, &a) != nil {
		return answer{}, indeterminate()
	}
	if a.Error == nil {
		return a, nil
	}
	if neverProposed(a.Error.Code) {
		return answer{}, errNotSent
	}
	return answer{}, a.Error
}

// leaderElsewhere returns where the leader is, if that is known and not here.
func (c *Cluster) leaderElsewhere() (id, addr string, ok bool) {
	_, leader := c.raft.LeaderWithID()
	addrs := c.addressesOf(string(leader))
	if len(addrs) == 0 || string(leader) == c.cfg.NodeID || c.cfg.Forward == nil {
		return "", "", false
	}
	return string(leader), addrs[0], true
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
	a, err := c.handle(ctx, body)
	if err != nil {
		a = answer{Error: wireError(err)}
	}
	return cbor.Marshal(a)
}

func (c *Cluster) handle(ctx context.Context, entry []byte) (answer, error) {
	if len(entry) > MaxForward {
		return answer{}, api.Errorf(api.CodeTooLarge, "a proposal of %d bytes is too large", len(entry))
	}
	if state.TypeOfEntry(entry) == state.TypeBatch {
		return c.handleBatch(ctx, entry)
	}
	if err := state.CheckEntry(entry); err != nil {
		return answer{}, err
	}
	if !c.IsLeader() {
		return answer{}, errNotSent
	}
	result, err := c.commit(ctx, bytes.Clone(entry), func() {}) // Raft keeps it beyond this call
	return answer{Result: result}, err
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
