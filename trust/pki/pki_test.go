package pki

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func newAuthorityFor(tb testing.TB, clusterID string) *Authority {
	tb.Helper()
	a, err := NewAuthority(clusterID, time.Now())
	require.NoError(tb, err)
	return a
}

func member(clusterID string, role Role) Identity {
	return Identity{ClusterID: clusterID, Role: role, ID: string(role) + "1", Region: "eu-west"}
}

// newKeyDir returns a directory with a key and a request for it.
func newKeyDir(tb testing.TB) (dir string, csr []byte) {
	tb.Helper()
	dir = tb.TempDir()
	key, err := LoadOrCreateKey(filepath.Join(dir, KeyFile))
	require.NoError(tb, err)
	csr, err = NewCSR(key)
	require.NoError(tb, err)
	return dir, csr
}

// enrolAt makes credentials whose certificate is signed at now, for an hour.
func enrolAt(tb testing.TB, a *Authority, id Identity, now time.Time) *Credentials {
	tb.Helper()
	dir, csr := newKeyDir(tb)
	cert, err := a.Sign(csr, id, time.Hour, now)
	require.NoError(tb, err)
	require.NoError(tb, SaveCredentials(dir, cert, a.CertificatePEM()))
	c, err := LoadCredentials(dir)
	require.NoError(tb, err)
	require.Equal(tb, id, c.Identity())
	return c
}

func enrol(tb testing.TB, a *Authority, role Role) *Credentials {
	tb.Helper()
	return enrolAt(tb, a, member(a.ClusterID(), role), time.Now())
}

// outcome is a handshake as its two ends saw it.
type outcome struct {
	server, client       tls.ConnectionState
	serverErr, clientErr error
}

// refused says that one end broke off. In TLS 1.3 the client may think that
// all is well when the server does not.
func (o outcome) refused() bool { return o.serverErr != nil || o.clientErr != nil }

func handshake(t *testing.T, server, client *tls.Config) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()

	var o outcome
	done := make(chan struct{})
	go func() {
		defer close(done)
		raw, err := ln.Accept()
		if err != nil {
			o.serverErr = err
			return
		}
		conn := tls.Server(raw, server)
		defer conn.Close()
		if o.serverErr = conn.HandshakeContext(ctx); o.serverErr == nil {
			_, o.serverErr = conn.Write([]byte{0})
		}
		o.server = conn.ConnectionState()
	}()
	raw, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	conn := tls.Client(raw, client)
	defer conn.Close()
	o.clientErr = conn.HandshakeContext(ctx)
	o.client = conn.ConnectionState()
	if o.clientErr != nil {
		raw.Close()
	} else {
		_, _ = conn.Read(make([]byte, 1)) // with it come the tickets
	}
	<-done
	return o
}

func newKey(tb testing.TB) ed25519.PrivateKey {
	tb.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(tb, err)
	return key
}
