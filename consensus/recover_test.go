package consensus

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"redflag/consensus/state"
)

// A node whose majority is gone for good leads again with all that it had.
func TestRecoverFromLostMajority(t *testing.T) {
	for name, snapshot := range map[string]bool{"from the log": false, "from a snapshot and the log": true} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			c := openAlone(t, dir, vfs.Default)
			require.NoError(t, c.Bootstrap())
			writeRoots(t, c, 1, 30)
			if snapshot {
				require.NoError(t, c.Snapshot())
			}
			writeRoots(t, c, 31, 40)
			// A second voter that is never there: nothing is committed any more.
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_ = c.Join(ctx, "gone", "gone")
			require.Eventually(t, func() bool { return !c.IsLeader() }, 10*time.Second, 5*time.Millisecond)
			crash(t, c)

			require.NoError(t, Recover(Config{NodeID: "n0", Addr: "n0", Dir: dir}))
			c = openAlone(t, dir, vfs.Default)
			requireRoots(t, c, 40) // each once: a second application would conflict
			writeRoots(t, c, 41, 41)
			require.Len(t, c.Status().Servers(), 1)
			crash(t, c)
		})
	}
	require.Error(t, Recover(Config{NodeID: "n0", Addr: "n0", Dir: t.TempDir()}), "there is nothing to recover")
}

// A restored snapshot is a cluster again, beyond every index that was ever
// given out.
func TestRestoreBeginsAnEpoch(t *testing.T) {
	dir := t.TempDir()
	c := openAlone(t, filepath.Join(dir, "old"), vfs.Default)
	require.NoError(t, c.Bootstrap())
	writeRoots(t, c, 1, 30)
	var stream bytes.Buffer
	taken, err := c.State().Snapshot()
	require.NoError(t, err)
	require.NoError(t, taken.Write(&stream))
	require.NoError(t, taken.Close())
	writeRoots(t, c, 31, 40) // which the snapshot does not have
	last := c.State().Applied()
	require.ErrorIs(t, Restore(Config{NodeID: "n0", Addr: "n0", Dir: c.cfg.Dir}, &stream), ErrBootstrapped)
	crash(t, c)

	info, err := state.InspectSnapshot(bytes.NewReader(stream.Bytes()))
	require.NoError(t, err)
	require.Less(t, info.Index, last)
	_, err = state.InspectSnapshot(bytes.NewReader(stream.Bytes()[:stream.Len()-1]))
	require.Error(t, err, "it is cut short")

	restored := filepath.Join(dir, "new")
	require.NoError(t, Restore(Config{NodeID: "n0", Addr: "n0", Dir: restored}, &stream))
	for range 2 { // and again after a restart
		c = openAlone(t, restored, vfs.Default)
		requireRoots(t, c, 30)
		require.Greater(t, c.State().Applied(), last)
		crash(t, c)
	}
	c = openAlone(t, restored, vfs.Default)
	writeRoots(t, c, 31, 31)
	crash(t, c)
}
