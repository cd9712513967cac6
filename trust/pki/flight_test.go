package pki

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// counted counts the writes that reach the network.
type counted struct {
	net.Conn
	mu     sync.Mutex
	writes int
}

func (c *counted) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.writes++
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// The request goes out together with the end of the handshake, and a client
// that waits for the node to speak first ends its handshake all the same.
func TestFlight(t *testing.T) {
	ca := newAuthorityFor(t, "c1")
	node, agent := enrol(t, ca, RoleNode), enrol(t, ca, RoleAgent)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", node.ServerTLS(ALPNHTTP))
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	connect := func() (*tls.Conn, *counted, net.Conn) {
		t.Helper()
		addr := ln.Addr().String()
		raw, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		there, err := ln.Accept()
		require.NoError(t, err)
		t.Cleanup(func() { _ = there.Close() })
		wire := &counted{Conn: raw}
		shaken := make(chan error, 1)
		go func() { shaken <- there.(*tls.Conn).Handshake() }()
		f := newFlight(wire)
		c := tls.Client(f, agent.PollingTLS(addr, ALPNHTTP))
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, c.HandshakeContext(t.Context()))
		f.handshaken()
		select {
		case <-shaken:
			require.Fail(t, "the handshake ended before the request")
		case <-time.After(20 * time.Millisecond):
		}
		return c, wire, there
	}

	c, wire, there := connect()
	for i, word := range []string{"one", "two"} {
		n, err := c.Write([]byte(word))
		require.NoError(t, err)
		require.Equal(t, 3, n)
		require.Equal(t, 2+i, wire.writes, "one for each flight of the client")
		got := make([]byte, 3)
		_, err = there.Read(got)
		require.NoError(t, err)
		require.Equal(t, word, string(got))
	}

	c, _, there = connect()
	go func() { _, _ = there.Write([]byte("!")) }()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, err = c.Read(make([]byte, 1))
	require.NoError(t, err)

	c, _, there = connect()
	require.NoError(t, c.Close())
	_, err = there.Read(make([]byte, 1))
	require.ErrorContains(t, err, "EOF", "the handshake ends, and the connection after it")
}
