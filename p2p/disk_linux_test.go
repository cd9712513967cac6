package p2p_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"redflag/api"
	"redflag/p2p"
	"redflag/p2p/p2ptest"
)

// smallDisk mounts a file system of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestFullDiskKeepsWhatWasFetched(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "size=3m")
	w := p2ptest.NewWorld(t)
	want := content(t, 6<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	w.Join(node("node-1", "eu"), p2ptest.Options{Upload: 50_000_000}).Seed(t, torrent, want)
	m := w.Join(agent(1), p2ptest.Options{Dir: disk})
	half, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.ErrorIs(t, err, p2p.ErrDisk)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Positive(t, half.Done)

	require.NoError(t, unix.Mount("", disk, "", unix.MS_REMOUNT, "size=20m"))
	rest, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.NoError(t, err)
	requirePayload(t, m, torrent, want)
	require.LessOrEqual(t, half.Done+rest.FromNodes, rest.Total, "nothing verified is fetched twice")
}

func TestReadOnlyDiskKeepsWhatWasFetched(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "size=20m")
	w := p2ptest.NewWorld(t)
	want := content(t, 4<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	w.Join(node("node-1", "eu"), p2ptest.Options{Upload: 16_000_000}).Seed(t, torrent, want)
	m := w.Join(agent(1), p2ptest.Options{Dir: disk})
	half := fetchSome(t, m, torrent)
	require.NoError(t, unix.Mount("", disk, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	_, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.ErrorIs(t, err, p2p.ErrDisk)
	require.ErrorIs(t, err, syscall.EROFS)

	require.NoError(t, unix.Mount("", disk, "", unix.MS_REMOUNT, ""))
	rest, err := m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.NoError(t, err)
	requirePayload(t, m, torrent, want)
	require.LessOrEqual(t, half.Done+rest.FromNodes, rest.Total, "nothing verified is fetched twice")
}

func TestVanishedFolderEndsFetch(t *testing.T) {
	t.Parallel()
	w := p2ptest.NewWorld(t)
	want := content(t, 4<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	w.Join(node("node-1", "eu"), p2ptest.Options{Upload: 16_000_000}).Seed(t, torrent, want)
	m := w.Join(agent(1), p2ptest.Options{})
	_, err := m.Fetch(t.Context(), m.Spec(torrent), func(p api.Transfer) {
		if p.Done > 0 {
			require.NoError(t, os.RemoveAll(filepath.Join(m.Dir, torrent.InfoHash)))
		}
	})
	require.ErrorIs(t, err, p2p.ErrDisk)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = m.Fetch(t.Context(), m.Spec(torrent), nil)
	require.NoError(t, err, "it starts over")
	requirePayload(t, m, torrent, want)
}

// fetchSome fetches a part of a payload.
func fetchSome(t *testing.T, m *p2ptest.Machine, torrent p2p.Torrent) api.Transfer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	half, err := m.Fetch(ctx, m.Spec(torrent), func(p api.Transfer) {
		if p.Done > 0 {
			cancel()
		}
	})
	require.Error(t, err)
	require.Positive(t, half.Done)
	require.Less(t, half.Done, half.Total)
	return half
}
