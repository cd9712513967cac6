package consensus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"redflag/consensus/state"
)

// openAlone starts a cluster of one on a file system for the state that can
// lose power; log and snapshots are on the real one, which does not.
func openAlone(t *testing.T, dir string, fs vfs.FS) *Cluster {
	t.Helper()
	var lc net.ListenConfig
	listener, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c, err := Open(Config{
		NodeID: "n0", Addr: "n0", Dir: dir, Listener: listener, stateFS: fs,
		Dial:              func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("alone") },
		Timeout:           50 * time.Millisecond,
		SnapshotThreshold: 4,
	})
	require.NoError(t, err)
	return c
}

func crash(t *testing.T, c *Cluster) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, c.Close(ctx))
}

func writeRoots(t *testing.T, c *Cluster, from, to int64) {
	t.Helper()
	for n := from; n <= to; n++ {
		result, err := c.Propose(t.Context(), state.TypePutTrust, state.PutTrust{
			Root: &state.Metadata{Version: n, Bytes: fmt.Appendf(nil, "root %d", n)},
		})
		require.NoError(t, err)
		require.NoError(t, result.Err())
	}
}

func requireRoots(t *testing.T, c *Cluster, to int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		return c.State().TrustVersions()[state.RoleRoot] == to
	}, 10*time.Second, 5*time.Millisecond)
	for n := int64(1); n <= to; n++ {
		_, ok := c.State().TrustFile(fmt.Sprintf("%d.root.json", n))
		require.True(t, ok, "write %d is lost", n)
	}
}

// With the log cut behind a snapshot, what the snapshot holds must already be
// on disk: a loss of power right after it loses nothing.
func TestPowerLossAfterSnapshot(t *testing.T) {
	dir, fs := t.TempDir(), vfs.NewCrashableMem()
	c := openAlone(t, dir, fs)
	require.NoError(t, c.Bootstrap())
	writeRoots(t, c, 1, 50)
	require.NoError(t, c.Snapshot())
	writeRoots(t, c, 51, 60)
	first, err := c.storage.log.FirstIndex()
	require.NoError(t, err)
	require.Greater(t, first, uint64(1), "the log was not cut")
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	crash(t, c)

	c = openAlone(t, dir, after)
	require.GreaterOrEqual(t, c.State().Applied(), uint64(50), "the snapshot was complete before the state was flushed")
	requireRoots(t, c, 60)
	crash(t, c)
}

// A state that is older than the snapshot, or gone, is restored from it.
func TestLostStateComesBackFromSnapshot(t *testing.T) {
	dir := t.TempDir()
	c := openAlone(t, dir, vfs.NewMem())
	require.NoError(t, c.Bootstrap())
	writeRoots(t, c, 1, 50)
	require.NoError(t, c.Snapshot())
	writeRoots(t, c, 51, 60)
	crash(t, c)

	c = openAlone(t, dir, vfs.NewMem())
	require.GreaterOrEqual(t, c.State().Applied(), uint64(50))
	requireRoots(t, c, 60)
	writeRoots(t, c, 61, 61)
	crash(t, c)
}

// What is flushed is not applied a second time after a restart.
func TestRestartReplaysNothingBelowApplied(t *testing.T) {
	dir, fs := t.TempDir(), vfs.NewMem()
	c := openAlone(t, dir, fs)
	require.NoError(t, c.Bootstrap())
	writeRoots(t, c, 1, 20)
	require.NoError(t, c.Close(t.Context()))

	c = openAlone(t, dir, fs)
	applied := c.State().Applied()
	require.GreaterOrEqual(t, applied, uint64(20))
	writeRoots(t, c, 21, 21) // a second application of 1 to 20 would conflict
	requireRoots(t, c, 21)
	crash(t, c)
}

// An entry that this version does not know stops the node where all can see.
func TestUnknownEntryStopsTheNode(t *testing.T) {
	c := openAlone(t, t.TempDir(), vfs.NewMem())
	require.NoError(t, c.Bootstrap())
	writeRoots(t, c, 1, 3)
	applied := c.State().Applied()
	unknown := []byte("an entry of the next version")
	require.ErrorIs(t, c.raft.Apply(unknown, time.Second).Error(), nil) // committed, not applied
	select {
	case err := <-c.Failed():
		require.ErrorIs(t, err, state.ErrCorrupt)
	case <-time.After(10 * time.Second):
		require.Fail(t, "the failure is not visible")
	}
	require.Eventually(t, func() bool { return c.raft.State() == raft.Shutdown }, 10*time.Second, 5*time.Millisecond)
	_, err := c.fsm.Snapshot()
	require.ErrorIs(t, err, state.ErrCorrupt, "a stopped machine gives no snapshot")
	require.GreaterOrEqual(t, c.State().Applied(), applied)
	require.NoError(t, c.Close(t.Context()))
}
