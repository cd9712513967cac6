package node

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

// The kernel's buffers of a connection are fitted to caps and to the swarm,
// through whatever the mesh puts around it.
func TestMeshConnectionsReachTheSocket(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	raw, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer raw.Close()
	socket, err := new(liveConns).track(raw).SyscallConn()
	require.NoError(t, err)
	reached := false
	require.NoError(t, socket.Control(func(uintptr) { reached = true }))
	require.True(t, reached)
}
