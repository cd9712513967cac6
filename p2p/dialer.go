package p2p

import (
	"context"
	"fmt"
	"net"

	"redflag/telemetry"
)

// dialer reaches the peers that the library knows by made-up addresses.
type dialer struct{ s *Swarm }

// DialerNetwork implements the library's Dialer.
func (dialer) DialerNetwork() string { return address{}.Network() }

// Dial implements the library's Dialer.
func (d dialer) Dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := d.dial(ctx, addr)
	if err != nil {
		d.s.log.Debug("peer not reached", "addr", addr, telemetry.KeyError, err)
		return nil, err // never a typed nil: the library compares with nil
	}
	return c, nil
}

func (d dialer) dial(ctx context.Context, addr string) (*conn, error) {
	id, at, ok := d.s.book.target(addr)
	if !ok {
		return nil, errUnknown
	}
	nc, err := d.s.cfg.Dial(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("dial %s at %s: %w", id, at, err)
	}
	c, err := d.s.admit(ctx, nc)
	if err != nil {
		return nil, err
	}
	if c.peer.ID != id {
		_ = c.Close()
		return nil, fmt.Errorf("%s at %s is %s: %w", id, at, c.peer.ID, errWrongID)
	}
	return c, nil
}
