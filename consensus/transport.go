package consensus

import (
	"context"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

const (
	rpcTimeout = 10 * time.Second
	pooled     = 3 // idle connections kept per peer
)

// stream is Raft's way to its peers: the caller's listener and dialer.
type stream struct {
	net.Listener
	advertised advertised
	dial       func(ctx context.Context, addr string) (net.Conn, error)
}

// Dial implements raft.StreamLayer.
func (s *stream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.dial(ctx, string(addr))
}

// Addr returns the address that peers know this node by: the leader tells it
// to its followers, and the listener's own may be a wildcard.
func (s *stream) Addr() net.Addr { return s.advertised }

type advertised string

// Network implements net.Addr.
func (advertised) Network() string { return "mesh" }

// String implements net.Addr.
func (a advertised) String() string { return string(a) }

func newTransport(cfg Config) *raft.NetworkTransport {
	return raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream:  &stream{Listener: cfg.Listener, advertised: advertised(cfg.Addr), dial: cfg.Dial},
		MaxPool: pooled,
		Timeout: rpcTimeout,
		Logger:  cfg.Logger.Named("raft-net"),
	})
}
