package consensus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/hashicorp/raft"
)

const (
	rpcTimeout = 10 * time.Second
	pooled     = 3 // idle connections kept per peer
	// dialPatience is how long one dial tries to reach a peer, and dialPause
	// what lies between two tries. Raft doubles its pause after each failure to
	// replicate, up to 10 s: a dial that waits for the peer fails less often,
	// so that a node which comes back is not left behind for that long.
	dialPatience = 3 * time.Second
	dialPause    = 100 * time.Millisecond
)

// stream is Raft's way to its peers: the caller's listener and dialer. Peers
// are addressed by id, since an address outlives the node that had it.
type stream struct {
	net.Listener
	cluster *Cluster
}

// Dial implements raft.StreamLayer.
func (s *stream) Dial(id raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.cluster.ctx, min(timeout, dialPatience))
	defer cancel()
	select {
	case <-s.cluster.opened:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for {
		conn, err := s.cluster.dialOnce(ctx, string(id))
		if err == nil {
			return conn, nil
		}
		if pause(ctx, dialPause); ctx.Err() != nil {
			return nil, err
		}
	}
}

// dialOnce tries every address that a peer may have.
func (c *Cluster) dialOnce(ctx context.Context, id string) (net.Conn, error) {
	errs := []error{fmt.Errorf("dial node %s", id)}
	for _, addr := range c.addressesOf(id) {
		conn, err := c.cfg.Dial(ctx, id, addr)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// addressesOf returns where a peer says that it is, if it has moved, and where
// Raft's configuration has it.
func (c *Cluster) addressesOf(id string) []string {
	var addrs []string
	if n, ok := c.State().Node(id); ok {
		addrs = append(addrs, n.MeshAddr)
	}
	for _, v := range c.Status().Servers() {
		if v.ID == id && (len(addrs) == 0 || addrs[0] != v.Addr) {
			addrs = append(addrs, v.Addr)
		}
	}
	return addrs
}

// ServerAddr implements raft.ServerAddressProvider.
func (s *stream) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	return raft.ServerAddress(id), nil
}

// Addr returns the address that peers know this node by: the leader tells it
// to its followers, and the listener's own may be a wildcard.
func (s *stream) Addr() net.Addr { return advertised(s.cluster.cfg.Addr) }

type advertised string

// Network implements net.Addr.
func (advertised) Network() string { return "mesh" }

// String implements net.Addr.
func (a advertised) String() string { return string(a) }

// transport is Raft's own, but for the calls of an election: those are sent
// again when the connection kept from earlier turns out to be that of a process
// which is gone. Raft sends each once, and a lost vote costs a whole timeout; to
// ask for the same vote twice is harmless.
type transport struct{ *raft.NetworkTransport }

// RequestVote implements raft.Transport.
func (t transport) RequestVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return afresh(func() error { return t.NetworkTransport.RequestVote(id, target, req, resp) })
}

// RequestPreVote implements raft.WithPreVote.
func (t transport) RequestPreVote(id raft.ServerID, target raft.ServerAddress, req *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return afresh(func() error { return t.NetworkTransport.RequestPreVote(id, target, req, resp) })
}

// afresh repeats a call until the idle connections are used up.
func afresh(call func() error) error {
	for range pooled {
		if err := call(); !ended(err) {
			return err
		}
	}
	return call()
}

// ended reports whether err says that the other end of a connection is gone.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func newTransport(c *Cluster) transport {
	s := &stream{Listener: c.cfg.Listener, cluster: c}
	return transport{raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:                s,
		ServerAddressProvider: s,
		MaxPool:               pooled,
		Timeout:               rpcTimeout,
		Logger:                c.cfg.Logger.Named("raft-net"),
	})}
}
