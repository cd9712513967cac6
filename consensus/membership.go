package consensus

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"
)

// Bootstrap makes this node a cluster of its own. It returns ErrBootstrapped
// on a node that belongs to one.
func (c *Cluster) Bootstrap() error {
	f := c.raft.BootstrapCluster(raft.Configuration{Servers: []raft.Server{{
		Suffrage: raft.Voter,
		ID:       raft.ServerID(c.cfg.NodeID),
		Address:  raft.ServerAddress(c.cfg.Addr),
	}}})
	err := f.Error()
	if errors.Is(err, raft.ErrCantBootstrap) {
		return ErrBootstrapped
	}
	if err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	return nil
}

// HasState reports whether this node has ever belonged to a cluster.
func (c *Cluster) HasState() bool {
	return c.raft.LastIndex() > 0 || c.raft.CurrentTerm() > 0
}

// Join makes a node a voter, or changes a voter's address. The node must be
// reachable: it counts for the majority at once. Only the leader can do it.
func (c *Cluster) Join(ctx context.Context, id, addr string) error {
	for _, s := range c.Status().Voters {
		if s.ID == id && s.Addr == addr && c.IsLeader() {
			return nil
		}
	}
	f := c.raft.AddVoter(raft.ServerID(id), raft.ServerAddress(addr), 0, rpcTimeout)
	return c.member(ctx, "join", id, f)
}

// Remove takes a node out of the cluster. Only the leader can do it.
func (c *Cluster) Remove(ctx context.Context, id string) error {
	return c.member(ctx, "remove", id, c.raft.RemoveServer(raft.ServerID(id), 0, rpcTimeout))
}

func (c *Cluster) member(ctx context.Context, op, id string, f raft.Future) error {
	err := c.await(ctx, f)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return ErrNotLeader
	default:
		return fmt.Errorf("%s node %s: %w", op, id, err)
	}
}
