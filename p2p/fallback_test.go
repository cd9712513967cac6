package p2p_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/p2p"
	"redflag/p2p/p2ptest"
)

// shop is a node's HTTPS side without the HTTPS.
type shop struct {
	info, content []byte

	mu    sync.Mutex
	sold  map[int64]int // by offset
	fails int
	lie   bool
	lied  int64 // bytes of the range that was not right
}

func (s *shop) Info(context.Context, string, int64) ([]byte, error) { return s.info, nil }

func (s *shop) Range(ctx context.Context, _ string, at int64, b []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails > 0 {
		s.fails--
		return errors.New("busy")
	}
	s.sold[at]++
	copy(b, s.content[at:])
	if s.lie {
		s.lie, s.lied = false, int64(len(b))
		b[0]++
	}
	return nil
}

func (s *shop) sales() (n int, twice bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.sold {
		n += k
		twice = twice || k > 1
	}
	return n, twice
}

func fallback(s *shop, patience time.Duration) *p2p.Fallback {
	return &p2p.Fallback{Source: s, Limits: func() (time.Duration, api.Rate) { return patience, 256_000 }}
}

// Nobody is in reach: not even the info dictionary comes from a peer.
func TestFallbackFetchesAll(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 3<<20+123)
	torrent := p2ptest.MakeTorrent(t, want)
	s := &shop{info: torrent.Info, content: want, sold: map[int64]int{}, fails: 1, lie: true}
	m := w.Join(agent(1), p2ptest.Options{})
	spec := m.Spec(torrent)
	spec.Fallback = fallback(s, 50*time.Millisecond)
	got, err := m.Fetch(t.Context(), spec, nil)
	require.NoError(t, err)
	requirePayload(t, m, torrent, want)
	require.Equal(t, int64(len(want)), got.FromFallback)
	require.Zero(t, got.FromPeers+got.FromNodes)
	n, _ := s.sales()
	pieces := (int64(len(want)) + torrent.PieceLength - 1) / torrent.PieceLength
	require.EqualValues(t, pieces+1, n, "each piece once, and again the one that was not right")
	stats, _ := m.Stats(torrent.InfoHash)
	require.Equal(t, s.lied, stats.Corrupt)
	require.Positive(t, s.lied)

	// What came that way is given to others.
	other := w.Join(agent(2), p2ptest.Options{})
	got, err = other.Fetch(t.Context(), other.Spec(torrent), nil)
	require.NoError(t, err)
	require.Equal(t, int64(len(want)), got.FromPeers)
}

// The swarm breaks off in the middle: only what it has not brought is asked
// for, and when it comes back it is used again.
func TestFallbackResumesAndGoesBack(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 16<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	first := w.Join(node("node-1", "eu"), p2ptest.Options{Upload: 40_000_000})
	first.Seed(t, torrent, want)

	m := w.Join(agent(1), p2ptest.Options{})
	spec := m.Spec(torrent)
	s := &shop{info: torrent.Info, content: want, sold: map[int64]int{}}
	var mu sync.Mutex
	patience := time.Duration(0)
	spec.Fallback = &p2p.Fallback{Source: &gate{shop: s, open: make(chan struct{})}, Limits: func() (time.Duration, api.Rate) {
		mu.Lock()
		defer mu.Unlock()
		return patience, 256_000
	}}
	done := make(chan error, 1)
	var got api.Transfer
	go func() {
		var err error
		got, err = m.Fetch(context.Background(), spec, nil)
		done <- err
	}()
	fetched := func() p2p.Stats { st, _ := m.Stats(torrent.InfoHash); return st }
	require.Eventually(t, func() bool { return fetched().Done >= 2<<20 }, patienceFor, 5*time.Millisecond)
	require.NoError(t, first.Close())
	mu.Lock()
	patience = time.Second
	mu.Unlock()
	require.Eventually(t, func() bool { return fetched().FromFallback >= 4*torrent.PieceLength }, patienceFor, 5*time.Millisecond)

	// The gate lets four pieces through, and then the swarm has to do.
	w.Join(node("node-2", "eu"), p2ptest.Options{}).Seed(t, torrent, want)
	select {
	case err := <-done:
		require.NoError(t, err)
	case <-time.After(patienceFor):
		t.Fatal("the swarm was not used again")
	}
	requirePayload(t, m, torrent, want)
	n, twice := s.sales()
	require.False(t, twice, "nothing is asked for twice")
	require.Equal(t, int64(n)*torrent.PieceLength, got.FromFallback)
	require.Positive(t, got.FromNodes)
	require.GreaterOrEqual(t, int64(len(want)), got.FromFallback+(2<<20), "what the swarm had brought is kept")
}

// gate sells four pieces and then lets callers wait.
type gate struct {
	*shop
	open chan struct{}
}

func (g *gate) Range(ctx context.Context, hash string, at int64, b []byte) error {
	if n, _ := g.sales(); n >= 4 {
		select {
		case <-g.open:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return g.shop.Range(ctx, hash, at, b)
}

const patienceFor = 30 * time.Second
