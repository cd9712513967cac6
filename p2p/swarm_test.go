package p2p_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"redflag/api"
	"redflag/p2p"
	"redflag/p2p/p2ptest"
)

const patience = 15 * time.Second

func content(tb testing.TB, size int) []byte {
	tb.Helper()
	b := make([]byte, size)
	_, err := rand.Read(b)
	require.NoError(tb, err)
	return b
}

func agent(i int) p2p.Peer { return p2p.Peer{ID: fmt.Sprintf("agent-%d", i), Region: "eu"} }
func node(id, region string) p2p.Peer {
	return p2p.Peer{ID: id, Region: region, Node: true}
}

// requirePayload checks what a machine has stored, byte by byte.
func requirePayload(tb testing.TB, m *p2ptest.Machine, t p2p.Torrent, want []byte) {
	tb.Helper()
	require.True(tb, m.Has(t.InfoHash))
	require.Equal(tb, []string{t.InfoHash}, m.Complete())
	f, err := m.Open(t.InfoHash)
	require.NoError(tb, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	require.NoError(tb, err)
	require.Equal(tb, sha256.Sum256(want), [32]byte(h.Sum(nil)))
}

// fetchAll fetches on all machines at once.
func fetchAll(tb testing.TB, t p2p.Torrent, machines []*p2ptest.Machine) []api.Transfer {
	tb.Helper()
	got := make([]api.Transfer, len(machines))
	var g errgroup.Group
	for i, m := range machines {
		g.Go(func() (err error) {
			got[i], err = m.Fetch(context.Background(), m.Spec(t), nil)
			return err
		})
	}
	require.NoError(tb, g.Wait())
	return got
}

func TestSwarmTakesMoreFromPeersThanFromTheNode(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	caps := p2ptest.Options{Upload: 32_000_000, Download: 64_000_000}
	want := content(t, 8<<20+12345)
	torrent := p2ptest.MakeTorrent(t, want)
	seed := w.Join(node("node-1", "eu"), caps)
	seed.Seed(t, torrent, want)
	var agents []*p2ptest.Machine
	for i := range 4 {
		agents = append(agents, w.Join(agent(i), caps))
	}
	start := time.Now()
	var sum api.Transfer
	for i, got := range fetchAll(t, torrent, agents) {
		requirePayload(t, agents[i], torrent, want)
		require.EqualValues(t, len(want), got.Done)
		require.EqualValues(t, len(want), got.FromPeers+got.FromNodes, "every byte is accounted for")
		sum.FromPeers += got.FromPeers
		sum.FromNodes += got.FromNodes
	}
	took := time.Since(start).Seconds()
	t.Logf("from peers %d, from the node %d; makespan / T_min = %.2f", sum.FromPeers, sum.FromNodes,
		took/(float64(len(want))/caps.Upload.BytesPerSecond()))
	require.Greater(t, sum.FromPeers, sum.FromNodes)

	require.Eventually(t, func() bool {
		left, ok := w.Tracker.Left(torrent.InfoHash, agents[0].Peer.ID)
		return ok && left == 0
	}, patience, 10*time.Millisecond, "a complete machine announces that it seeds")
}

func TestCorruptPeerIsBannedAlone(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 6<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	caps := p2ptest.Options{Upload: 40_000_000}
	w.Join(node("node-1", "eu"), caps).Seed(t, torrent, want)
	w.Join(agent(9), caps).Seed(t, torrent, content(t, len(want)))

	var logs lockedBuffer
	logger := hclog.New(&hclog.LoggerOptions{Output: &logs, Level: hclog.Info})
	var agents []*p2ptest.Machine
	for i := range 3 {
		agents = append(agents, w.Join(agent(i), p2ptest.Options{Upload: caps.Upload, Logger: logger}))
	}
	for i, got := range fetchAll(t, torrent, agents) {
		requirePayload(t, agents[i], torrent, want)
		require.EqualValues(t, len(want), got.FromPeers+got.FromNodes)
		stats, ok := agents[i].Stats(torrent.InfoHash)
		require.True(t, ok)
		require.LessOrEqual(t, stats.Corrupt, got.Total, "no piece is spoiled again and again")
		t.Logf("%s: %+v", agents[i].Peer.ID, stats)
	}
	require.Eventually(t, func() bool { return strings.Contains(logs.String(), "peer banned") }, patience, 10*time.Millisecond)
	for line := range strings.Lines(logs.String()) {
		if strings.Contains(line, "peer banned") {
			require.Contains(t, line, "peer=agent-9")
		}
		if strings.Contains(line, "piece failed its hash") {
			require.Contains(t, line, "agent-9", "the liar had a hand in every corrupt piece")
		}
	}
}

func TestWithheldPayloadIsNotGiven(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 2<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	seed, late := w.Join(agent(1), p2ptest.Options{}), w.Join(agent(2), p2ptest.Options{})
	seed.Seed(t, torrent, want)
	changed, err := seed.Give(torrent.InfoHash, false)
	require.NoError(t, err)
	require.True(t, changed)
	changed, err = seed.Give(torrent.InfoHash, false)
	require.NoError(t, err)
	require.False(t, changed)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	got, err := late.Fetch(ctx, late.Spec(torrent), nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Zero(t, got.Done)

	_, err = seed.Give(torrent.InfoHash, true)
	require.NoError(t, err)
	_, err = late.Fetch(t.Context(), late.Spec(torrent), nil)
	require.NoError(t, err)
	requirePayload(t, late, torrent, want)
	_, err = seed.Give(strings.Repeat("0", 40), true)
	require.ErrorIs(t, err, p2p.ErrNotComplete)
}

func TestCancelKeepsWhatWasFetched(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 4<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	seed := w.Join(node("node-1", "eu"), p2ptest.Options{Upload: 16_000_000})
	seed.Seed(t, torrent, want)
	m := w.Join(agent(1), p2ptest.Options{})

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	half, err := m.Fetch(ctx, m.Spec(torrent), func(p api.Transfer) {
		if p.Done > 0 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Positive(t, half.Done)
	require.Less(t, half.Done, half.Total)
	require.False(t, m.Has(torrent.InfoHash))
	_, err = m.Open(torrent.InfoHash)
	require.ErrorIs(t, err, p2p.ErrNotComplete)
	_, open := m.Stats(torrent.InfoHash)
	require.False(t, open, "the download has stopped")
	require.GreaterOrEqual(t, m.Kept(m.Spec(torrent)), half.Done)
	require.Less(t, m.Kept(m.Spec(torrent)), half.Total)

	rest, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.NoError(t, err)
	requirePayload(t, m, torrent, want)
	require.LessOrEqual(t, half.Done+rest.FromPeers+rest.FromNodes, rest.Total, "nothing verified is fetched twice")
	require.Equal(t, half.Total, m.Kept(m.Spec(torrent)))
}

// snapshot copies a store while its swarm runs, as a kill would leave it. A
// copy takes time: the bits come first, so that they are no younger than the
// data.
func snapshot(t *testing.T, store string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pieces", "info", "data"} {
		files, err := filepath.Glob(filepath.Join(store, "*", name))
		require.NoError(t, err)
		require.Len(t, files, 1)
		b, err := os.ReadFile(files[0])
		require.NoError(t, err)
		to := filepath.Join(dir, filepath.Base(filepath.Dir(files[0])))
		require.NoError(t, os.MkdirAll(to, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(to, name), b, 0o600))
	}
	return dir
}

func TestResumeAfterCloseAndAfterKill(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(t *testing.T, m *p2ptest.Machine) (dir string){
		"close": func(t *testing.T, m *p2ptest.Machine) string {
			t.Helper()
			require.NoError(t, m.Close())
			return m.Dir
		},
		"kill": func(t *testing.T, m *p2ptest.Machine) string {
			t.Helper()
			return snapshot(t, m.Dir)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := p2ptest.NewWorld(t)
			want := content(t, 4<<20)
			torrent := p2ptest.MakeTorrent(t, want)
			w.Join(node("node-1", "eu"), p2ptest.Options{Upload: 16_000_000}).Seed(t, torrent, want)
			before := w.Join(agent(1), p2ptest.Options{})

			var dir string
			var done int64
			_, err := before.Fetch(t.Context(), before.Spec(torrent), func(p api.Transfer) {
				if p.Done > 0 && p.Done < p.Total && dir == "" {
					done = p.Done
					dir = stop(t, before)
					_ = before.Close()
				}
			})
			require.ErrorIs(t, err, p2p.ErrClosed)

			after := w.Join(agent(1), p2ptest.Options{Dir: dir})
			require.Empty(t, after.Complete())
			got, err := after.Fetch(t.Context(), after.Spec(torrent), nil)
			require.NoError(t, err)
			requirePayload(t, after, torrent, want)
			require.LessOrEqual(t, got.FromPeers+got.FromNodes, got.Total-done, "verified pieces are not fetched again")
		})
	}
}

func TestImportedPayloadIsSeededAfterRestart(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 1<<20+7)
	torrent := p2ptest.MakeTorrent(t, want)
	first := w.Join(node("node-1", "eu"), p2ptest.Options{})
	first.Seed(t, torrent, want)
	first.Seed(t, torrent, want) // again: nothing to do
	require.NoError(t, first.Close())

	second := w.Join(node("node-1", "eu"), p2ptest.Options{Dir: first.Dir})
	requirePayload(t, second, torrent, want)
	require.NoError(t, second.Swarm.Seed(torrent.InfoHash, second.Announce))

	// A node of another region fetches, and what it takes is counted as WAN.
	far := w.Join(node("node-2", "us"), p2ptest.Options{})
	_, err := far.Fetch(t.Context(), far.Spec(torrent), nil)
	require.NoError(t, err)
	requirePayload(t, far, torrent, want)
	stats, ok := far.Stats(torrent.InfoHash)
	require.True(t, ok)
	require.EqualValues(t, len(want), stats.FromNodes)
	require.EqualValues(t, len(want), stats.FromOtherRegions)
	require.Zero(t, stats.FromPeers)

	require.NoError(t, far.Remove(torrent.InfoHash))
	require.False(t, far.Has(torrent.InfoHash))
	require.NoDirExists(t, filepath.Join(far.Dir, torrent.InfoHash))
}

func TestConcurrentFetchesJoinAndOutlastATrackerThatIsDown(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 2<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	seed := w.Join(node("node-1", "eu"), p2ptest.Options{})
	seed.Seed(t, torrent, want)
	require.Eventually(t, func() bool { _, ok := w.Tracker.Left(torrent.InfoHash, "node-1"); return ok }, patience, time.Millisecond)
	w.Tracker.SetDown(true)

	m := w.Join(agent(1), p2ptest.Options{})
	var g errgroup.Group
	ctx, cancel := context.WithCancel(t.Context())
	g.Go(func() error {
		_, err := m.Fetch(ctx, m.Spec(torrent), nil)
		if err == nil {
			return fmt.Errorf("the first caller was to give up")
		}
		return nil
	})
	for range 2 {
		g.Go(func() error {
			_, err := m.Fetch(context.Background(), m.Spec(torrent), nil)
			return err
		})
	}
	require.Eventually(t, func() bool { _, ok := m.Stats(torrent.InfoHash); return ok }, patience, time.Millisecond)
	cancel()
	w.Tracker.SetDown(false)
	require.NoError(t, g.Wait())
	requirePayload(t, m, torrent, want)
}

func TestInfoMismatch(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 1<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	w.Join(node("node-1", "eu"), p2ptest.Options{}).Seed(t, torrent, want)
	m := w.Join(agent(1), p2ptest.Options{})
	// Same number of digits and pieces: the info dictionary has the size that
	// is expected, and another content.
	spec := m.Spec(torrent)
	spec.Length--
	_, err := m.Fetch(t.Context(), spec, nil)
	require.ErrorIs(t, err, p2p.ErrInfoMismatch)
}

func TestBadArguments(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	m := w.Join(agent(1), p2ptest.Options{})
	torrent := p2ptest.MakeTorrent(t, content(t, 1<<20))
	for _, spec := range []p2p.FetchSpec{
		{InfoHash: "../../etc", Length: 1, PieceLength: torrent.PieceLength},
		{InfoHash: strings.ToUpper(torrent.InfoHash), Length: 1, PieceLength: torrent.PieceLength},
		{InfoHash: torrent.InfoHash, Length: 0, PieceLength: torrent.PieceLength},
		{InfoHash: torrent.InfoHash, Length: 1 << 60, PieceLength: torrent.PieceLength},
		{InfoHash: torrent.InfoHash, Length: 1, PieceLength: 3},
	} {
		_, err := m.Fetch(t.Context(), spec, nil)
		require.ErrorIs(t, err, p2p.ErrInvalid)
	}
	require.ErrorIs(t, m.Swarm.Seed(torrent.InfoHash, m.Announce), p2p.ErrNotComplete)
	short := filepath.Join(t.TempDir(), "short")
	require.NoError(t, os.WriteFile(short, []byte("short"), 0o600))
	require.ErrorIs(t, m.Import(torrent, short), p2p.ErrInvalid)
	broken := torrent
	broken.Info = bytes.ToUpper(broken.Info)
	require.ErrorIs(t, m.Import(broken, short), p2p.ErrInvalid)
	require.NoError(t, m.Remove(torrent.InfoHash))
	require.NoError(t, m.Close())
	_, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.ErrorIs(t, err, p2p.ErrClosed)
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
