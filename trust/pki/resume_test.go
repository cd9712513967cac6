package pki

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// A session that is resumed needs no hybrid of its own, one that begins has it:
// also when the node, which was started again, cannot open the ticket.
func TestDialResuming(t *testing.T) {
	ca := newAuthorityFor(t, "c1")
	node, agent := enrol(t, ca, RoleNode), enrol(t, ca, RoleAgent)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	servers, accepted := make(chan *tls.Config, 8), make(chan struct{}, 8)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- struct{}{}
			go func() {
				defer c.Close()
				server := <-servers
				_, _ = tls.Server(c, server).Write([]byte("!"))
				servers <- server
				_, _ = c.Read(make([]byte, 1)) // until the other end has gone
			}()
		}
	}()
	meet := func() (s tls.ConnectionState, dials int) {
		addr := ln.Addr().String()
		c, err := DialResuming(t.Context(), &net.Dialer{}, addr, agent.PollingTLS(addr, ALPNHTTP))
		require.NoError(t, err)
		defer c.Close()
		_, err = c.Read(make([]byte, 1)) // the ticket comes with it
		require.NoError(t, err)
		for dials = len(accepted); len(accepted) > 0; {
			<-accepted
		}
		return c.ConnectionState(), dials
	}
	servers <- node.ServerTLS(ALPNHTTP)
	first, _ := meet()
	require.False(t, first.DidResume)
	require.Equal(t, tls.X25519MLKEM768, first.CurveID)
	for range 2 {
		next, dials := meet()
		require.True(t, next.DidResume)
		require.Equal(t, tls.CurveP256, next.CurveID)
		require.Equal(t, 1, dials)
	}
	<-servers
	servers <- node.ServerTLS(ALPNHTTP) // with ticket keys of its own, as after a restart
	anew, dials := meet()
	require.False(t, anew.DidResume)
	require.Equal(t, tls.X25519MLKEM768, anew.CurveID)
	require.Equal(t, 2, dials)
	again, _ := meet()
	require.True(t, again.DidResume)
}
