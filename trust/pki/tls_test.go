package pki

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestMembersRecogniseEachOther(t *testing.T) {
	a := newAuthorityFor(t, "c1")
	node, agent := enrol(t, a, RoleNode), enrol(t, a, RoleAgent)
	for name, tc := range map[string]struct {
		from, to       *Credentials
		server, client *tls.Config
	}{
		"agent to node":       {agent, node, node.ServerTLS(ALPNHTTP), agent.NodeClientTLS(ALPNHTTP)},
		"node to node":        {node, node, node.ServerTLS(ALPNRaft), node.NodeClientTLS(ALPNRaft)},
		"agent to agent":      {agent, agent, agent.PeerServerTLS(ALPNSwarm), agent.PeerClientTLS(ALPNSwarm)},
		"node to agent":       {node, agent, agent.PeerServerTLS(ALPNSwarm), node.PeerClientTLS(ALPNSwarm)},
		"agent to node swarm": {agent, node, node.PeerServerTLS(ALPNSwarm), agent.PeerClientTLS(ALPNSwarm)},
	} {
		t.Run(name, func(t *testing.T) {
			o := handshake(t, tc.server, tc.client)
			require.NoError(t, o.serverErr)
			require.NoError(t, o.clientErr)
			require.EqualValues(t, tls.VersionTLS13, o.server.Version)
			require.Equal(t, tc.client.NextProtos[0], o.server.NegotiatedProtocol)

			id, err := IdentityOf(o.server)
			require.NoError(t, err)
			require.Equal(t, tc.from.Identity(), id)
			id, err = IdentityOf(o.client)
			require.NoError(t, err)
			require.Equal(t, tc.to.Identity(), id)
		})
	}
}

func TestHandshakeRefused(t *testing.T) {
	past := time.Now().Add(-48 * time.Hour)
	a, err := NewAuthority("c1", past)
	require.NoError(t, err)
	node, agent := enrol(t, a, RoleNode), enrol(t, a, RoleAgent)
	expiredNode := enrolAt(t, a, member("c1", RoleNode), past)
	expiredAgent := enrolAt(t, a, member("c1", RoleAgent), past)
	early := enrolAt(t, a, member("c1", RoleAgent), time.Now().Add(time.Hour))
	impostor := newAuthorityFor(t, "c1") // the same name for another cluster
	stranger := enrol(t, impostor, RoleAgent)
	strangeNode := enrol(t, impostor, RoleNode)

	old := agent.NodeClientTLS(ALPNHTTP)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	// Believes the right authority and presents another one's certificate.
	liar := agent.NodeClientTLS(ALPNHTTP)
	liar.GetClientCertificate = stranger.NodeClientTLS().GetClientCertificate

	for name, tc := range map[string]struct {
		server, client *tls.Config
		reason         string
	}{
		"agent in the place of a node":      {agent.ServerTLS(ALPNHTTP), node.NodeClientTLS(ALPNHTTP), "certificate is valid for swarm.redflag.internal"},
		"server of another cluster":         {strangeNode.ServerTLS(ALPNHTTP), agent.NodeClientTLS(ALPNHTTP), "certificate signed by unknown authority"},
		"client of another cluster":         {node.ServerTLS(ALPNHTTP), liar, "certificate signed by unknown authority"},
		"peer of another cluster":           {node.PeerServerTLS(ALPNSwarm), stranger.PeerClientTLS(ALPNSwarm), "unknown authority"},
		"expired server":                    {expiredNode.ServerTLS(ALPNHTTP), agent.NodeClientTLS(ALPNHTTP), "expired"},
		"expired client":                    {node.ServerTLS(ALPNHTTP), expiredAgent.NodeClientTLS(ALPNHTTP), "expired"},
		"client from the future":            {node.ServerTLS(ALPNHTTP), early.NodeClientTLS(ALPNHTTP), "not yet valid"},
		"TLS 1.2":                           {node.ServerTLS(ALPNHTTP), old, "protocol version"},
		"no protocol in common":             {node.ServerTLS(ALPNRaft), agent.NodeClientTLS(ALPNSwarm), "application protocol"},
		"anonymous peer":                    {node.PeerServerTLS(ALPNSwarm), anonymous(agent, SwarmServerName), "didn't provide a certificate"},
		"certificate that names nobody":     {node.ServerTLS(ALPNHTTP), signedAs(t, a, agent), "does not name a member"},
		"certificate with two names":        {node.ServerTLS(ALPNHTTP), signedAs(t, a, agent, "spiffe://c1/eu/agent/a", "spiffe://c1/eu/node/n"), "does not name a member"},
		"certificate that names a stranger": {node.ServerTLS(ALPNHTTP), signedAs(t, a, agent, "spiffe://c2/eu/agent/a"), "another cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			o := handshake(t, tc.server, tc.client)
			require.True(t, o.refused())
			require.ErrorContains(t, errors.Join(o.serverErr, o.clientErr), tc.reason)
		})
	}
}

func anonymous(c *Credentials, serverName string) *tls.Config {
	conf := c.client(serverName, []string{ALPNHTTP, ALPNSwarm})
	conf.GetClientCertificate = nil
	return conf
}

// signedAs returns a client whose certificate the authority signed with these
// names, as Sign never would.
func signedAs(t *testing.T, a *Authority, c *Credentials, names ...string) *tls.Config {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		NotAfter:    time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, n := range names {
		u, err := url.Parse(n)
		require.NoError(t, err)
		tmpl.URIs = append(tmpl.URIs, u)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	require.NoError(t, err)
	conf := c.NodeClientTLS(ALPNHTTP)
	conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
	}
	return conf
}

func TestAnonymousClientHasNoIdentity(t *testing.T) {
	node := enrol(t, newAuthorityFor(t, "c1"), RoleNode)
	o := handshake(t, node.ServerTLS(ALPNHTTP), anonymous(node, NodeServerName))
	require.NoError(t, o.serverErr)
	_, err := IdentityOf(o.server)
	require.Equal(t, api.CodeUnauthenticated, api.CodeOf(err))

	// Presented is not verified.
	o.server.PeerCertificates = o.client.PeerCertificates
	_, err = IdentityOf(o.server)
	require.Equal(t, api.CodeUnauthenticated, api.CodeOf(err))
}

func TestReloadCountsFromTheNextHandshake(t *testing.T) {
	before, after := newAuthorityFor(t, "c1"), newAuthorityFor(t, "c1")
	dir, csr := newKeyDir(t)
	save := func(a *Authority, bundle []byte) {
		cert, err := a.Sign(csr, member("c1", RoleNode), time.Hour, time.Now())
		require.NoError(t, err)
		require.NoError(t, SaveCredentials(dir, cert, bundle))
	}
	save(before, before.CertificatePEM())
	node, err := LoadCredentials(dir)
	require.NoError(t, err)
	server := node.ServerTLS(ALPNHTTP)

	oldAgent, newAgent := enrol(t, before, RoleAgent), enrol(t, after, RoleAgent)
	accepts := func(c *Credentials) bool {
		return !handshake(t, server, c.NodeClientTLS(ALPNHTTP)).refused()
	}
	require.True(t, accepts(oldAgent))
	require.False(t, accepts(newAgent))

	// While the authority rolls over, a bundle of two covers both.
	save(before, append(before.CertificatePEM(), after.CertificatePEM()...))
	require.NoError(t, node.Reload())
	require.True(t, accepts(oldAgent))
	require.Contains(t, string(node.Authorities()), string(after.CertificatePEM()))

	save(after, after.CertificatePEM())
	require.NoError(t, node.Reload())
	require.False(t, accepts(oldAgent))
	require.True(t, accepts(newAgent))
}

// A resumed session spares the signatures, and nothing else: what would refuse
// a full handshake refuses a resumed one, or makes it a full one.
func TestResumption(t *testing.T) {
	ca := newAuthorityFor(t, "c1")
	const addr = "node:1"
	// met returns a node, with its server, and an agent that has a session with it.
	met := func(t *testing.T) (node, agent *Credentials, server *tls.Config) {
		t.Helper()
		node, agent = enrol(t, ca, RoleNode), enrol(t, ca, RoleAgent)
		server = node.ServerTLS(ALPNHTTP)
		o := handshake(t, server, agent.PollingTLS(addr, ALPNHTTP))
		require.False(t, o.refused())
		require.False(t, o.server.DidResume, "it is the first")
		return node, agent, server
	}

	t.Run("with the same node", func(t *testing.T) {
		_, agent, server := met(t)
		for range 2 {
			o := handshake(t, server, agent.PollingTLS(addr, ALPNHTTP))
			require.False(t, o.refused())
			require.True(t, o.server.DidResume)
			id, err := IdentityOf(o.server)
			require.NoError(t, err)
			require.Equal(t, agent.Identity(), id)
		}
		o := handshake(t, enrol(t, ca, RoleNode).ServerTLS(ALPNHTTP), agent.PollingTLS("node:2", ALPNHTTP))
		require.False(t, o.refused())
		require.False(t, o.server.DidResume)
		require.False(t, handshake(t, server, agent.NodeClientTLS(ALPNHTTP)).server.DidResume, "others do not ask for it")
	})
	t.Run("with a member that was put out", func(t *testing.T) {
		node, agent, server := met(t)
		node.SetRevoked(func(keyID string) bool { return keyID == agent.KeyID() })
		require.ErrorIs(t, handshake(t, server, agent.PollingTLS(addr, ALPNHTTP)).serverErr, errRevoked)
	})
	t.Run("with a node that was put out", func(t *testing.T) {
		node, agent, server := met(t)
		agent.SetRevoked(func(keyID string) bool { return keyID == node.KeyID() })
		require.ErrorIs(t, handshake(t, server, agent.PollingTLS(addr, ALPNHTTP)).clientErr, errRevoked)
	})
	t.Run("with a certificate that ended", func(t *testing.T) {
		node, agent, server := met(t)
		node.UseClock(func() time.Time { return time.Now().Add(2 * time.Hour) })
		require.ErrorContains(t, handshake(t, server, agent.PollingTLS(addr, ALPNHTTP)).serverErr, "expired")
	})
	t.Run("under an authority that was replaced", func(t *testing.T) {
		_, agent, _ := met(t)
		dir, csr := newKeyDir(t)
		save := func(a *Authority) {
			cert, err := a.Sign(csr, member("c1", RoleNode), time.Hour, time.Now())
			require.NoError(t, err)
			require.NoError(t, SaveCredentials(dir, cert, a.CertificatePEM()))
		}
		save(ca)
		node, err := LoadCredentials(dir)
		require.NoError(t, err)
		server := node.ServerTLS(ALPNHTTP)
		require.False(t, handshake(t, server, agent.PollingTLS(addr, ALPNHTTP)).refused())
		save(newAuthorityFor(t, "c1"))
		require.NoError(t, node.Reload())
		o := handshake(t, server, agent.PollingTLS(addr, ALPNHTTP))
		require.True(t, o.refused())
		require.False(t, o.server.DidResume)
	})
	t.Run("after a renewal", func(t *testing.T) {
		_, agent, server := met(t)
		csr, err := agent.CSR()
		require.NoError(t, err)
		cert, err := ca.Sign(csr, agent.Identity(), 2*time.Hour, time.Now())
		require.NoError(t, err)
		require.NoError(t, agent.Renew(cert, nil))
		o := handshake(t, server, agent.PollingTLS(addr, ALPNHTTP))
		require.False(t, o.refused())
		require.False(t, o.server.DidResume, "the node must see the new certificate")
	})
}

func TestTrustAnchor(t *testing.T) {
	a := newAuthorityFor(t, "c1")
	node, agent := enrol(t, a, RoleNode), enrol(t, a, RoleAgent)
	pool, err := TrustAnchor(a.PublicKey())
	require.NoError(t, err)
	client := &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: pool, ServerName: NodeServerName, NextProtos: []string{ALPNHTTP},
	}
	require.False(t, handshake(t, node.ServerTLS(ALPNHTTP), client).refused())
	require.True(t, handshake(t, agent.ServerTLS(ALPNHTTP), client).refused(), "an agent plays the node")

	other := enrol(t, newAuthorityFor(t, "c1"), RoleNode)
	require.True(t, handshake(t, other.ServerTLS(ALPNHTTP), client).refused(), "another authority")

	// The right subject and key id over another key.
	forger := newAuthorityFor(t, "c1")
	forged, err := authorityTemplate(a.PublicKey())
	require.NoError(t, err)
	forged.NotBefore, forged.NotAfter = forger.cert.NotBefore, forger.cert.NotAfter
	forged.URIs = forger.cert.URIs
	der, err := x509.CreateCertificate(rand.Reader, forged, forged, forger.PublicKey(), forger.key)
	require.NoError(t, err)
	forger.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	require.Equal(t, a.cert.RawSubject, forger.cert.RawSubject)
	require.Equal(t, a.cert.SubjectKeyId, forger.cert.SubjectKeyId)
	dir, csr := newKeyDir(t)
	cert, err := forger.Sign(csr, member("c1", RoleNode), time.Hour, time.Now())
	require.NoError(t, err)
	require.Error(t, SaveCredentials(dir, cert, forger.CertificatePEM()), "its subject belies its key")
	pair := tlsPair(t, dir, cert)
	server := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{ALPNHTTP}, Certificates: []tls.Certificate{pair}}
	o := handshake(t, server, client)
	require.ErrorAs(t, o.clientErr, new(*tls.CertificateVerificationError))

	_, err = TrustAnchor(a.PublicKey()[:31])
	require.Error(t, err)
}
