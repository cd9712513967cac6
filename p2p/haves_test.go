package p2p

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/ratelimit"
)

// records is a connection that remembers each write, as a TLS record would be.
type records struct {
	net.Conn
	written [][]byte
}

func (r *records) Write(p []byte) (int, error) {
	r.written = append(r.written, append([]byte(nil), p...))
	return len(p), nil
}

func (r *records) Close() error { return nil }

func TestHavesWaitForCompany(t *testing.T) {
	have := func(piece int) []byte { return appendHave(nil, piece) }
	interested := []byte{0, 0, 0, 1, 2}
	synctest.Test(t, func(t *testing.T) {
		wire := &records{}
		write := func(c *conn, p []byte) {
			n, err := c.Write(p)
			require.NoError(t, err)
			require.Len(t, p, n)
		}
		c := &conn{Conn: wire, wire: ratelimit.NewConn(wire), closed: make(chan struct{})}
		write(c, have(1))
		write(c, append(have(2), have(3)...))
		require.Empty(t, wire.written)
		write(c, interested)
		all := append(append(append(have(1), have(2)...), have(3)...), interested...)
		require.Equal(t, [][]byte{all}, wire.written, "they go with the next message, in their order")

		wire.written = nil
		time.Sleep(2 * haveDelay)
		require.Empty(t, wire.written, "and not again")
		write(c, have(4))
		time.Sleep(haveDelay + time.Millisecond)
		synctest.Wait()
		require.Equal(t, [][]byte{have(4)}, wire.written, "they do not wait for long")

		wire.written = nil
		for i := range havesHeld/haveSize + 1 {
			write(c, have(i))
		}
		require.Len(t, wire.written, 1, "nor do many")
		require.Len(t, wire.written[0], havesHeld+haveSize)

		node := &conn{Conn: wire, peer: Peer{Node: true}}
		wire.written = nil
		write(node, have(5))
		require.Equal(t, [][]byte{have(5)}, wire.written, "a node plans by them")
	})
}
