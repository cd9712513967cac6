package consensus

import (
	"errors"

	"github.com/hashicorp/raft"

	"redflag/api"
)

// Sentinels of this package.
var (
	// ErrBootstrapped says that the node already belongs to a cluster.
	ErrBootstrapped = errors.New("node already has raft state")
	// ErrNotLeader says that only the leader can do what was asked.
	ErrNotLeader = errors.New("node is not the leader")
	// ErrClosed says that the cluster was closed or has failed.
	ErrClosed = errors.New("consensus is closed")
)

// errNotSent says that a proposal did not get into any log, so that it can be
// tried again.
var errNotSent = errors.New("proposal was not sent")

func unavailable() *api.Error {
	return api.Errorf(api.CodeUnavailable, "the cluster has no leader right now").
		WithHint("nothing was changed; try again")
}

// tooNew says that a node would stop at a change that its version does not know.
func tooNew() *api.Error {
	return api.Errorf(api.CodeUnavailable, "a node of the cluster runs a version that does not know this change").
		WithHint("upgrade the nodes that redflag nodes shows with an older version; nothing was changed")
}

func indeterminate() *api.Error {
	return api.Errorf(api.CodeIndeterminate, "the change may or may not have been committed").
		WithHint("repeat it with the same id")
}

// classify maps an error of raft's Apply to what it means for the proposal.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader),
		errors.Is(err, raft.ErrLeadershipTransferInProgress),
		errors.Is(err, raft.ErrEnqueueTimeout):
		return errNotSent
	default: // leadership lost, shut down, context ended: it may be in a log
		return indeterminate()
	}
}
