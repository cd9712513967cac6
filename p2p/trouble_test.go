package p2p_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/p2p"
	"redflag/p2p/p2ptest"
)

func debugLog() (*lockedBuffer, hclog.Logger) {
	logs := &lockedBuffer{}
	return logs, hclog.New(&hclog.LoggerOptions{Output: logs, Level: hclog.Debug})
}

func TestDiskErrorEndsFetch(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 1<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	m := w.Join(agent(1), p2ptest.Options{})

	result := make(chan error, 1)
	go func() {
		_, err := m.Fetch(context.Background(), m.Spec(torrent), nil)
		result <- err
	}()
	require.Eventually(t, func() bool { _, ok := m.Stats(torrent.InfoHash); return ok }, patience, time.Millisecond)
	require.NoError(t, m.BreakDisk(torrent.InfoHash))
	w.Join(node("node-1", "eu"), p2ptest.Options{}).Seed(t, torrent, want)
	select {
	case err := <-result:
		require.ErrorIs(t, err, p2p.ErrDisk)
	case <-time.After(patience):
		t.Fatal("a broken disk went unnoticed")
	}

	_, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.NoError(t, err, "the disk works again")
	requirePayload(t, m, torrent, want)
}

func TestDiskErrorAtStart(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	torrent := p2ptest.MakeTorrent(t, content(t, 1<<20))
	m := w.Join(agent(1), p2ptest.Options{})
	require.NoError(t, os.WriteFile(filepath.Join(m.Dir, torrent.InfoHash), nil, 0o600))
	_, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.ErrorIs(t, err, p2p.ErrDisk)
}

func TestFalseInfoDictionaryIsRefused(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 1<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	other := p2ptest.MakeTorrent(t, content(t, len(want)))
	liar := w.Join(agent(9), p2ptest.Options{})
	require.NoError(t, liar.ServeFalseInfo(torrent.InfoHash, other.Info, t.TempDir()))
	_, err := liar.Announce(t.Context(), torrent.InfoHash, 0)
	require.NoError(t, err)

	logs, logger := debugLog()
	m := w.Join(agent(1), p2ptest.Options{Logger: logger})
	result := make(chan error, 1)
	go func() {
		_, err := m.Fetch(context.Background(), m.Spec(torrent), nil)
		result <- err
	}()

	require.Eventually(t, func() bool {
		return strings.Contains(logs.String(), "false info dictionary: info_hash="+torrent.InfoHash+" peer=agent-9")
	}, patience, 10*time.Millisecond)

	require.Eventually(t, func() bool { return strings.Contains(logs.String(), "refused for a while") },
		patience, 10*time.Millisecond, "it is not welcome again")

	w.Join(node("node-1", "eu"), p2ptest.Options{}).Seed(t, torrent, want)
	require.NoError(t, <-result)
	requirePayload(t, m, torrent, want)
}

func TestPeerUnderAnotherAddressIsNotTrusted(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 1<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	seed := w.Join(node("node-1", "eu"), p2ptest.Options{})
	seed.Seed(t, torrent, want)
	require.Eventually(t, func() bool { _, ok := w.Tracker.Left(torrent.InfoHash, "node-1"); return ok }, patience, time.Millisecond)

	logs, logger := debugLog()
	m := w.Join(agent(1), p2ptest.Options{Logger: logger})
	spec := m.Spec(torrent)
	spec.Announce = func(ctx context.Context, infoHash string, left int64) (api.AnnounceResponse, error) {
		resp, err := m.Announce(ctx, infoHash, left)
		for i := range resp.Peers {
			resp.Peers[i].ID = "somebody-else"
		}
		return resp, err
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() {
		_, err := m.Fetch(ctx, spec, nil)
		result <- err
	}()
	require.Eventually(t, func() bool { return strings.Contains(logs.String(), "is node-1: peer speaks under another identity") },
		patience, 10*time.Millisecond)
	stats, ok := m.Stats(torrent.InfoHash)
	require.True(t, ok)
	require.Zero(t, stats.Done)
	cancel()
	require.ErrorIs(t, <-result, context.Canceled)
}

func TestRemoveEndsFetch(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	torrent := p2ptest.MakeTorrent(t, content(t, 1<<20))
	m := w.Join(agent(1), p2ptest.Options{})
	result := make(chan error, 1)
	go func() {
		_, err := m.Fetch(context.Background(), m.Spec(torrent), nil)
		result <- err
	}()
	require.Eventually(t, func() bool { _, ok := m.Stats(torrent.InfoHash); return ok }, patience, time.Millisecond)
	upload := filepath.Join(t.TempDir(), "upload")
	require.NoError(t, os.WriteFile(upload, make([]byte, torrent.Length), 0o600))
	require.ErrorIs(t, m.Import(torrent, upload), p2p.ErrBusy)
	require.NoError(t, m.Remove(torrent.InfoHash))
	require.ErrorIs(t, <-result, p2p.ErrClosed)
	require.NoDirExists(t, filepath.Join(m.Dir, torrent.InfoHash))
}

// TestCloseLeavesNothingBehind must not run beside other tests.
func TestCloseLeavesNothingBehind(t *testing.T) {
	w := p2ptest.NewWorld(t)
	want := content(t, 1<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	seed := w.Join(node("node-1", "eu"), p2ptest.Options{})
	seed.Seed(t, torrent, want)
	m := w.Join(agent(1), p2ptest.Options{})
	_, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.NoError(t, err)
	require.NoError(t, errors.Join(m.Close(), seed.Close(), seed.Close()))
	stacks := make([]byte, 1<<20)
	require.Eventually(t, func() bool {
		all := string(stacks[:runtime.Stack(stacks, true)])
		return !strings.Contains(all, "redflag/p2p.(") && !strings.Contains(all, "anacrolix/torrent.(")
	}, patience, 10*time.Millisecond)
}
