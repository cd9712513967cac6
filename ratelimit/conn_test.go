package ratelimit

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"redflag/api"
)

// pair returns the two ends of a TCP connection on loopback.
func pair(tb testing.TB) (client, server *Conn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(tb, err)
	s, err := l.Accept()
	require.NoError(tb, err)
	client, server = NewConn(c), NewConn(s)
	tb.Cleanup(func() {
		client.Close()
		server.Close()
	})
	return client, server
}

// carry sends size bytes from one end to the other.
func carry(from io.Writer, to io.Reader, size int) error {
	var g errgroup.Group
	g.Go(func() error {
		_, err := from.Write(make([]byte, size))
		return err
	})
	g.Go(func() error {
		_, err := io.CopyN(io.Discard, to, int64(size))
		return err
	})
	return g.Wait()
}

// ratio is the measured rate over the cap.
func ratio(size int, took time.Duration, limit api.Rate) float64 {
	return float64(size) / took.Seconds() / limit.BytesPerSecond()
}

func TestCapHolds(t *testing.T) {
	const limit, size = api.Rate(40_000_000), 5_000_000
	for name, limited := range map[string]func(client, server *Conn, b *Bucket){
		"write": func(c, _ *Conn, b *Bucket) { c.Limit(nil, []*Bucket{b}) },
		"read":  func(_, s *Conn, b *Bucket) { s.Limit([]*Bucket{b}, nil) },
		"chain": func(c, _ *Conn, b *Bucket) {
			c.Limit(nil, []*Bucket{NewBucket(10 * limit), b, NewBucket(api.Unlimited)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := pair(t)
			limited(client, server, NewBucket(limit))
			start := time.Now()
			require.NoError(t, carry(client, server, size))
			got := ratio(size, time.Since(start), limit)
			require.Less(t, got, 1.1)
			t.Logf("achieved / cap = %.3f", got)
		})
	}
}

func TestManyConnectionsShareOneBucket(t *testing.T) {
	const limit, conns, size = api.Rate(40_000_000), 5, 1_000_000
	b := NewBucket(limit)
	var g errgroup.Group
	start := time.Now()
	for range conns {
		client, server := pair(t)
		client.Limit(nil, []*Bucket{b})
		g.Go(func() error { return carry(client, server, size) })
	}
	require.NoError(t, g.Wait())
	got := ratio(conns*size, time.Since(start), limit)
	require.Less(t, got, 1.1)
	t.Logf("achieved / cap = %.3f", got)
}

func TestSetRateIsFeltByWaiters(t *testing.T) {
	client, server := pair(t)
	b := NewBucket(8_000) // 1 kB/s: what follows would take an hour
	client.Limit(nil, []*Bucket{b})
	done := make(chan error, 1)
	go func() { done <- carry(client, server, 4_000_000) }()
	require.Eventually(t, func() bool { _, n := client.Bytes(); return n > 0 }, 5*time.Second, time.Millisecond)
	b.SetRate(api.Unlimited)
	require.Equal(t, api.Unlimited, b.Rate())
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(10 * time.Second):
		t.Fatal("waiters did not notice the new rate")
	}

	b.SetRate(40_000_000)
	start := time.Now()
	require.NoError(t, carry(client, server, 2_000_000))
	require.Less(t, ratio(2_000_000, time.Since(start), b.Rate()), 1.2)
}

func TestLimitMayComeLater(t *testing.T) {
	client, server := pair(t)
	require.NoError(t, carry(client, server, 1_000_000))
	client.Limit(nil, []*Bucket{NewBucket(40_000_000)})
	start := time.Now()
	require.NoError(t, carry(client, server, 4_000_000))
	require.Less(t, ratio(4_000_000, time.Since(start), 40_000_000), 1.1)
	_, written := client.Bytes()
	read, _ := server.Bytes()
	require.EqualValues(t, 5_000_000, written)
	require.Equal(t, written, read)
}

func TestCloseEndsWait(t *testing.T) {
	client, server := pair(t)
	slow := []*Bucket{NewBucket(8)}
	client.Limit(nil, slow)
	server.Limit(slow, nil)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := client.Write(make([]byte, 100_000))
		require.ErrorIs(t, err, net.ErrClosed)
	})
	require.Eventually(t, func() bool { _, n := client.Bytes(); return n > 0 }, 5*time.Second, time.Millisecond)
	start := time.Now()
	require.NoError(t, client.Close())
	wg.Wait()
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestDeadlineEndsWaitAndLosesNothing(t *testing.T) {
	client, server := pair(t)
	payload := make([]byte, 64<<10)
	_, _ = rand.Read(payload)
	_, err := client.Write(payload)
	require.NoError(t, err)

	b := NewBucket(8_000)
	server.Limit([]*Bucket{b}, nil)
	require.NoError(t, server.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	var got bytes.Buffer
	_, err = io.Copy(&got, server)
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)

	b.SetRate(api.Unlimited)
	require.NoError(t, server.SetReadDeadline(time.Time{}))
	_, err = io.CopyN(&got, server, int64(len(payload)-got.Len()))
	require.NoError(t, err)
	require.Equal(t, payload, got.Bytes())
}

func TestDeadlineCanBeMoved(t *testing.T) {
	d := newDeadline()
	d.set(time.Now().Add(-time.Second))
	<-d.wait()
	d.set(time.Now().Add(time.Hour))
	select {
	case <-d.wait():
		t.Fatal("a deadline in the future has passed")
	default:
	}
	d.set(time.Now().Add(time.Millisecond))
	<-d.wait()
}

func BenchmarkConnWrite(b *testing.B) {
	for name, chain := range map[string][]*Bucket{
		"unlimited": nil,
		"10gbit":    {NewBucket(10_000_000_000)},
	} {
		b.Run(name, func(b *testing.B) {
			client, server := pair(b)
			client.Limit(nil, chain)
			const size = 1 << 20
			b.SetBytes(size)
			for b.Loop() {
				if err := carry(client, server, size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
