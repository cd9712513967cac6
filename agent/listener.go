package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"redflag/p2p"
	"redflag/trust/pki"
)

// swarmListener yields connections that only members of the cluster can bring
// to life. The swarm does the handshakes.
type swarmListener struct {
	net.Listener
	conf *tls.Config
}

// Accept implements net.Listener.
func (l swarmListener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(p2p.Wire(raw), l.conf), nil
}

// dialSwarm returns the way to connect to a swarm peer.
func dialSwarm(creds *pki.Credentials) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return tls.Client(p2p.Wire(raw), creds.PeerClientTLS(pki.ALPNSwarm)), nil
	}
}

// identify says who is at the other end of a swarm connection.
func identify(conn net.Conn) (p2p.Peer, error) {
	t, ok := conn.(*tls.Conn)
	if !ok {
		return p2p.Peer{}, errors.New("the connection is not TLS")
	}
	id, err := pki.IdentityOf(t.ConnectionState())
	if err != nil {
		return p2p.Peer{}, err
	}
	return p2p.Peer{ID: id.ID, Region: id.Region, Node: id.Role == pki.RoleNode}, nil
}
