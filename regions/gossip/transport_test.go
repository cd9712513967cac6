package gossip

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/require"
)

type dialFunc = func(ctx context.Context, addr string) (net.Conn, error)

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

func listen(t *testing.T, addr string) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	return ln
}

func runTransport(t *testing.T, ln net.Listener, dial dialFunc) *transport {
	t.Helper()
	tr := newTransport(
		Config{Listener: ln, Dial: dial, Logger: hclog.NewNullLogger()},
		ln.Addr().(*net.TCPAddr).AddrPort(),
		func(a memberlist.Address) string { return a.Addr },
	)
	t.Cleanup(func() { require.NoError(t, tr.Shutdown()) })
	return tr
}

func (t *transport) addr() string { return t.self.String() }

// requireArrives sends text until it arrives: packets may be lost.
func requireArrives(t *testing.T, from, to *transport, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, err := from.WriteTo([]byte(text), to.addr())
		require.NoError(t, err)
		for {
			select {
			case p := <-to.PacketCh():
				if string(p.Buf) == text {
					return true
				}
			case <-time.After(50 * time.Millisecond):
				return false
			}
		}
	}, 10*time.Second, 10*time.Millisecond)
}

// hanging is a connection over a path that can be cut without a sound.
type hanging struct {
	net.Conn
	cut *atomic.Bool
}

func (h hanging) Write(b []byte) (int, error) {
	if h.cut.Load() {
		return len(b), nil
	}
	return h.Conn.Write(b)
}

func TestPacketsSurviveAHangingStream(t *testing.T) {
	var cut atomic.Bool
	var dials atomic.Int32
	b := runTransport(t, listen(t, "127.0.0.1:0"), dialTCP)
	a := runTransport(t, listen(t, "127.0.0.1:0"), func(ctx context.Context, addr string) (net.Conn, error) {
		conn, err := dialTCP(ctx, addr)
		if dials.Add(1) == 1 { // only the first hangs
			return hanging{conn, &cut}, err
		}
		return conn, err
	})
	requireArrives(t, a, b, "before")
	requireArrives(t, a, b, "again")
	require.EqualValues(t, 1, dials.Load(), "the stream is kept")
	cut.Store(true)

	conn, err := a.DialTimeout(b.addr(), time.Second)
	require.NoError(t, err)
	defer conn.Close()
	select {
	case accepted := <-b.StreamCh():
		defer accepted.Close()
	case <-time.After(5 * time.Second):
		t.Fatal("the stream did not arrive")
	}
	requireArrives(t, a, b, "after")
}

func TestPacketsFindAPeerThatRestarted(t *testing.T) {
	a := runTransport(t, listen(t, "127.0.0.1:0"), dialTCP)
	b := runTransport(t, listen(t, "127.0.0.1:0"), dialTCP)
	requireArrives(t, a, b, "before")
	require.NoError(t, b.Shutdown())
	for range 10 {
		a.send(b.addr(), []byte("into the void"))
	}
	b = runTransport(t, listen(t, b.addr()), dialTCP)
	requireArrives(t, a, b, "after")
}

func TestSlowPeerDoesNotBlock(t *testing.T) {
	a := runTransport(t, listen(t, "127.0.0.1:0"), func(ctx context.Context, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	began := time.Now()
	for range 10 * queueLength {
		_, err := a.WriteTo(make([]byte, 1400), "192.0.2.1:1")
		require.NoError(t, err)
	}
	_, err := a.WriteTo(make([]byte, maxPacket+1), "192.0.2.1:1")
	require.NoError(t, err, "dropped")
	require.Less(t, time.Since(began), dialTimeout/2)
	_, err = a.DialTimeout("192.0.2.1:1", 20*time.Millisecond)
	require.ErrorIs(t, err, context.DeadlineExceeded)

	began = time.Now()
	require.NoError(t, a.Shutdown())
	require.Less(t, time.Since(began), dialTimeout/2, "a dial under way is given up")
}

func TestStrangeStreamIsClosed(t *testing.T) {
	a := runTransport(t, listen(t, "127.0.0.1:0"), dialTCP)
	for _, sent := range []string{"X", "P\x00"} { // no kind of ours; half a length
		conn, err := dialTCP(t.Context(), a.addr())
		require.NoError(t, err)
		_, err = conn.Write([]byte(sent))
		require.NoError(t, err)
		require.NoError(t, conn.(*net.TCPConn).CloseWrite())
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
		n, err := conn.Read(make([]byte, 1))
		require.Zero(t, n)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, conn.Close())
	}
}

func TestBackOffIsBounded(t *testing.T) {
	var p peer
	for range 20 {
		p.backOff()
		require.GreaterOrEqual(t, p.backoff, minBackoff)
		require.LessOrEqual(t, p.backoff, maxBackoff)
	}
}
