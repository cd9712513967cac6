package pki

import (
	"crypto/tls"
	"time"
)

// The ALPN names of the protocols on the mesh port.
const (
	ALPNHTTP   = "http/1.1"
	ALPNRaft   = "redflag-raft/1"
	ALPNGossip = "redflag-gossip/1"
	ALPNSwarm  = "redflag-swarm/1"
)

// ServerTLS returns the configuration of the mesh port. A client may come
// without a certificate, to enrol or to ask for health; one that presents a
// certificate must be a member. Replaced credentials count from the next
// handshake on.
func (c *Credentials) ServerTLS(protos ...string) *tls.Config {
	conf := c.server(tls.VerifyClientCertIfGiven, protos)
	conf.SessionTicketsDisabled = false // only PollingTLS asks for one
	return conf
}

// PeerServerTLS is ServerTLS for members only.
func (c *Credentials) PeerServerTLS(protos ...string) *tls.Config {
	return c.server(tls.RequireAndVerifyClientCert, protos)
}

// NodeClientTLS returns the configuration to dial a node; an agent at the
// other end is refused. A client configuration believes the authorities of the
// moment it was made: make one for each dial.
func (c *Credentials) NodeClientTLS(protos ...string) *tls.Config {
	return c.client(NodeServerName, protos)
}

// PollingTLS is NodeClientTLS for a caller that comes back to the node at addr
// again and again: it resumes the session of the last time, which spares both
// ends the signatures. crypto/tls holds the certificates of a resumed session
// against their lives and against the authorities of the moment, and
// VerifyConnection against what was revoked since. New credentials begin anew.
func (c *Credentials) PollingTLS(addr string, protos ...string) *tls.Config {
	conf := c.NodeClientTLS(protos...)
	conf.SessionTicketsDisabled = false
	conf.ClientSessionCache = sessionOf{c.now.Load().sessions, addr}
	return conf
}

// sessionOf is the session with one node: all nodes have the same server name,
// by which crypto/tls would keep them, and none can open another's ticket.
type sessionOf struct {
	all  tls.ClientSessionCache
	addr string
}

func (s sessionOf) Get(string) (*tls.ClientSessionState, bool)    { return s.all.Get(s.addr) }
func (s sessionOf) Put(_ string, session *tls.ClientSessionState) { s.all.Put(s.addr, session) }

// PeerClientTLS is NodeClientTLS for any member of the cluster.
func (c *Credentials) PeerClientTLS(protos ...string) *tls.Config {
	return c.client(SwarmServerName, protos)
}

func (c *Credentials) server(auth tls.ClientAuthType, protos []string) *tls.Config {
	conf := c.baseTLS(protos)
	conf.ClientAuth = auth
	conf.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		m := c.now.Load()
		live := c.baseTLS(protos)
		live.ClientAuth = auth
		live.SessionTicketsDisabled = conf.SessionTicketsDisabled
		live.ClientCAs = m.roots
		live.Certificates = []tls.Certificate{m.certificate}
		live.VerifyConnection = c.verifierOf(m)
		return live, nil
	}
	return conf
}

func (c *Credentials) client(serverName string, protos []string) *tls.Config {
	m := c.now.Load()
	conf := c.baseTLS(protos)
	conf.ServerName = serverName
	conf.RootCAs = m.roots
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &c.now.Load().certificate, nil
	}
	conf.VerifyConnection = c.verifierOf(m)
	return conf
}

// baseTLS turns session resumption off: connections between nodes and between
// peers live long.
func (c *Credentials) baseTLS(protos []string) *tls.Config {
	return &tls.Config{
		Time:                   c.time,
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protos,
		SessionTicketsDisabled: true,
	}
}

// verifierOf runs after the chain was verified. It refuses a member whose
// certificate is well signed and yet names no identity of this cluster, and one
// that was put out.
func (c *Credentials) verifierOf(m *material) func(tls.ConnectionState) error {
	return func(state tls.ConnectionState) error {
		if len(state.PeerCertificates) == 0 {
			return nil // the server's ClientAuth decided that none is needed
		}
		id, err := IdentityOf(state)
		if err != nil {
			return err
		}
		if id.ClusterID != m.identity.ClusterID {
			return errWrongCluster
		}
		return c.checkRevoked(state.PeerCertificates[0])
	}
}

// UseClock makes handshakes judge certificates by now instead of the machine's
// clock; now must be safe for concurrent use.
func (c *Credentials) UseClock(now func() time.Time) { c.clock.Store(&now) }

func (c *Credentials) time() time.Time {
	if now := c.clock.Load(); now != nil {
		return (*now)()
	}
	return time.Now()
}
