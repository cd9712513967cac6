package consensus

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"redflag/consensus/state"
)

// snapshotBytes returns a snapshot file of what the node holds.
func snapshotBytes(t *testing.T, c *Cluster) []byte {
	t.Helper()
	w, err := c.NewSnapshot()
	require.NoError(t, err)
	var file bytes.Buffer
	require.NoError(t, w.Write(&file))
	require.EqualValues(t, file.Len(), w.Size(), "the size is told beforehand")
	require.NoError(t, w.Close())
	return file.Bytes()
}

func openBytes(b []byte) (*SnapshotFile, error) {
	return OpenSnapshot(bytes.NewReader(b), int64(len(b)), nil)
}

// A file is taken whole or not at all: no bit of it may be another.
func TestSnapshotFile(t *testing.T) {
	dir := t.TempDir()
	c := openAlone(t, filepath.Join(dir, "old"), vfs.Default)
	require.NoError(t, c.Bootstrap())
	writeRoots(t, c, 1, 3)
	file := snapshotBytes(t, c)
	writeRoots(t, c, 4, 6)
	last := c.State().Applied()
	crash(t, c)

	s, err := openBytes(file)
	require.NoError(t, err)
	require.Equal(t, "n0", s.Header.NodeID)
	require.NotZero(t, s.Header.Term)
	require.Less(t, s.Header.Index, last)
	require.Zero(t, state.EpochOf(s.Header.Index))

	for at := range file {
		damaged := bytes.Clone(file)
		damaged[at] ^= 1
		_, err := openBytes(damaged)
		require.ErrorIs(t, err, ErrNoSnapshot, "byte %d", at)
	}
	for size := range file {
		_, err := openBytes(file[:size])
		require.ErrorIs(t, err, ErrNoSnapshot, "cut to %d bytes", size)
	}
	_, err = openBytes(append(bytes.Clone(file), 0))
	require.ErrorIs(t, err, ErrNoSnapshot, "it goes on after its end")
	_, err = OpenSnapshot(bytes.NewReader(file), MaxSnapshotFile+1, nil)
	require.ErrorIs(t, err, ErrNoSnapshot)

	restored := Config{NodeID: "n0", Addr: "n0", Dir: filepath.Join(dir, "new")}
	require.NoError(t, Restore(restored, s.State(), Change{Type: state.TypeTick, Body: state.Tick{}}))
	c = openAlone(t, restored.Dir, vfs.Default)
	requireRoots(t, c, 3)
	require.False(t, c.State().LastTick().IsZero(), "the change was made")
	require.Greater(t, c.State().Applied(), last)
	require.EqualValues(t, 1, state.EpochOf(c.State().Applied()))
	crash(t, c)

	refused := Change{Type: state.TypeRemoveNode, Body: state.RemoveNode{ID: "nobody"}}
	restored.Dir = filepath.Join(dir, "refused")
	require.ErrorContains(t, Restore(restored, s.State(), refused), "nobody")
}

// FuzzOpenSnapshot: whatever is not a snapshot is refused, without much memory.
func FuzzOpenSnapshot(f *testing.F) {
	m, err := state.OpenFS(vfs.NewMem(), "state")
	require.NoError(f, err)
	taken, err := m.Snapshot()
	require.NoError(f, err)
	w, err := newSnapshotWriter(taken, SnapshotHeader{NodeID: "n0"}, m)
	require.NoError(f, err)
	var file bytes.Buffer
	require.NoError(f, w.Write(&file))
	require.NoError(f, w.Close())
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:file.Len()/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := openBytes(b)
		if err != nil {
			require.ErrorIs(t, err, ErrNoSnapshot)
			return
		}
		info, err := state.InspectSnapshot(s.State())
		require.NoError(t, err)
		require.Equal(t, info, s.Info)
	})
}
