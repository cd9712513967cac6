package state

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
)

var errDisk = errors.New("no space left")

// A disk that no longer writes stops the machine; nothing hangs and nothing
// that was flushed is lost.
func TestBrokenDisk(t *testing.T) {
	var full atomic.Bool
	mem := vfs.NewMem()
	r := openRig(t, errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if full.Load() && strings.HasSuffix(op.Path, ".sst") && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
			return errDisk
		}
		return nil
	})))
	r.must(Tick{})
	require.NoError(t, r.Flush())
	flushed := r.Applied()
	stream := busy(t).snapshot()

	full.Store(true)
	require.ErrorIs(t, r.Restore(bytes.NewReader(stream)), errDisk)
	r.must(Tick{}) // a restore that failed beside the store does no harm
	require.ErrorIs(t, r.Flush(), errDisk)
	require.ErrorIs(t, r.Err(), errDisk)
	_, err := r.Apply(Entry{r.index + 1, mustEncode(t, Tick{})})
	require.ErrorIs(t, err, errDisk)
	_, err = r.Snapshot()
	require.ErrorIs(t, err, errDisk)
	require.NoError(t, r.Close())

	full.Store(false)
	require.GreaterOrEqual(t, openRig(t, mem).Applied(), flushed)
}
