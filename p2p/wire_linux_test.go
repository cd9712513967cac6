package p2p

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// counted counts how often its reader was woken with something.
type counted struct {
	*net.TCPConn
	reads atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	c.reads.Add(1)
	return c.TCPConn.Read(p)
}

// ends returns the two ends of a TCP connection.
func ends(t *testing.T) (out, in *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = dialed.Close() })
	accepted, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = accepted.Close() })
	return dialed.(*net.TCPConn), accepted.(*net.TCPConn)
}

// A record that comes in parts, as over a thin link, wakes its reader for the
// first of them and for the last.
func TestWireSleepsUntilARecordIsWhole(t *testing.T) {
	out, accepted := ends(t)
	in := &counted{TCPConn: accepted}

	const size, part, rounds = 16 << 10, 1 << 10, 4
	go func() {
		for range rounds {
			b := tlsRecord(tlsHandshake, size)
			for len(b) > 0 {
				n := min(part, len(b))
				_, _ = out.Write(b[:n])
				b = b[n:]
				time.Sleep(2 * time.Millisecond)
			}
		}
		_ = out.Close()
	}()
	wire := Wire(in)
	buf := make([]byte, 32<<10)
	got := 0
	for {
		n, err := wire.Read(buf)
		got += n
		if err != nil {
			require.ErrorIs(t, err, io.EOF)
			break
		}
	}
	require.Equal(t, rounds*(tlsHeader+size), got)
	require.Less(t, in.reads.Load(), int64(rounds*size/part/2), "woken for every part")
}

// The last bytes of a peer that dies within a record are read, and its end too.
func TestWireReadsARecordThatNeverEnds(t *testing.T) {
	out, in := ends(t)
	_, err := out.Write(tlsRecord(tlsHandshake, 16<<10)[:1000])
	require.NoError(t, err)
	wire := Wire(in)
	buf := make([]byte, 32<<10)
	n, err := wire.Read(buf)
	require.NoError(t, err)
	require.Equal(t, 1000, n)
	_, err = out.Write(make([]byte, 1000))
	require.NoError(t, err)
	require.NoError(t, out.Close())
	rest, err := io.ReadAll(wire)
	require.NoError(t, err)
	require.Len(t, rest, 1000)
}
