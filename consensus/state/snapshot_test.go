package state

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"redflag/api"
)

func (r *rig) snapshot() []byte {
	r.Helper()
	s, err := r.Snapshot()
	require.NoError(r, err)
	require.Equal(r, r.index, s.Index())
	var out bytes.Buffer
	require.NoError(r, s.Write(&out))
	require.NoError(r, s.Close())
	return out.Bytes()
}

// sameView compares what is in memory, which no hash covers.
func sameView(t *testing.T, want, got *rig) {
	t.Helper()
	require.Equal(t, want.hash(), got.hash())
	require.Equal(t, want.Applied(), got.Applied())
	require.Equal(t, want.Rollouts(), got.Rollouts())
	for _, a := range want.Agents("", 0, nil) {
		require.Equal(t, want.Pending(a.ID, nil, 0), got.Pending(a.ID, nil, 0))
	}
	for _, s := range []api.Selector{{All: true}, {Regions: []string{"eu"}}, {Labels: map[string]string{"role": "kiosk"}}} {
		require.Equal(t, want.Machine.index.selected(s).ToArray(), got.Machine.index.selected(s).ToArray())
	}
}

// busy is a fleet with commands in every state.
func busy(t *testing.T) *rig {
	t.Helper()
	r := fleet(t)
	r.must(
		lease("a1", "r1:a1"), report("a1", says("p", "r1:a1", api.StateSucceeded)),
		lease("a2", "r1:a2"), report("a2", says("p", "r1:a2", api.StateRunning)),
		lease("a3", "r1:a3"),
		rollout("r2", api.Selector{Regions: []string{"eu"}}), lease("a1", "r2:a1"), CancelRollout{"r2"},
		Tick{},
	)
	return r
}

func TestSnapshotRoundTrip(t *testing.T) {
	from, to := busy(t), newRig(t)
	to.must(token("gone", api.TokenNode, 1, nil), Tick{}) // must not survive
	stream := from.snapshot()
	index, err := SnapshotIndex(bytes.NewReader(stream))
	require.NoError(t, err)
	require.Equal(t, from.index, index)
	require.NoError(t, to.Restore(bytes.NewReader(stream)))
	to.index, to.now = from.index, from.now
	sameView(t, from, to)

	next := report("a3", says("p", "r1:a3", api.StateFailed))
	from.must(next)
	to.must(next)
	sameView(t, from, to)
}

func TestReopenRebuildsTheIndex(t *testing.T) {
	r := busy(t)
	require.NoError(t, r.Flush())
	require.NoError(t, r.Close())
	again := openRig(t, r.fs)
	fresh := busy(t)
	sameView(t, fresh, again)
}

func TestSnapshotIsOfOneMoment(t *testing.T) {
	r := busy(t)
	want := r.hash()
	s, err := r.Snapshot()
	require.NoError(t, err)
	r.must(Tick{}, CancelRollout{"r1"})
	require.NoError(t, r.Restore(bytes.NewReader(newRig(t).snapshot()))) // even this does not reach it
	var out bytes.Buffer
	require.NoError(t, s.Write(&out))
	require.NoError(t, s.Close())
	to := newRig(t)
	require.NoError(t, to.Restore(&out))
	require.Equal(t, want, to.hash())
}

func TestRestoreRefusesDamage(t *testing.T) {
	stream := busy(t).snapshot()
	r := fleet(t)
	before := r.hash()
	for n := 0; n < len(stream); n += 97 {
		require.Error(t, r.Restore(bytes.NewReader(stream[:n])), "cut at %d", n)
		damaged := bytes.Clone(stream)
		damaged[n] ^= 0x40
		if n < len(snapshotMagic) || n >= len(snapshotMagic)+8 { // the index is Raft's to check
			require.Error(t, r.Restore(bytes.NewReader(damaged)), "flipped at %d", n)
		}
	}
	huge := append(bytes.Clone(stream[:len(snapshotMagic)+8]), binary.AppendUvarint([]byte{1, 1}, 1<<40)...)
	require.Error(t, r.Restore(bytes.NewReader(huge)))
	require.Equal(t, before, r.hash())
	r.must(Tick{})
}

// A loss of power takes the state back to an entry that was applied, whole,
// and never below the last flush.
func TestPowerLoss(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	fs := vfs.NewCrashableMem()
	r := openRig(t, fs)
	hashes := map[uint64]string{0: r.hash()}
	step := func(b body) {
		r.apply(b)
		hashes[r.index] = r.hash()
	}
	step(token("t1", api.TokenAgent, 1000, nil))
	step(artifact("app", "1.0.0", 1))
	flushed := uint64(0)
	for i := range 60 {
		id := fmt.Sprintf("a%d", i)
		step(enrol(id, "eu", "t1", nil))
		step(rollout("r"+id, api.Selector{All: true}))
		step(lease(id, "r"+id+":"+id))
		if i%20 == 19 {
			require.NoError(t, r.Flush())
			flushed = r.index
		}
		for _, percent := range []int{0, 50} {
			crashed := openRig(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
			require.GreaterOrEqual(t, crashed.Applied(), flushed)
			require.Equal(t, hashes[crashed.Applied()], crashed.hash())
		}
	}
	require.Positive(t, flushed)
}

// A loss of power in a Restore leaves the old state or the new one.
func TestPowerLossDuringRestore(t *testing.T) {
	stream := busy(t).snapshot()
	want := busy(t).hash()
	fs := vfs.NewCrashableMem()
	old := openRig(t, fs)
	old.must(Tick{})
	require.NoError(t, old.Flush())
	before := old.hash()
	rng := rand.New(rand.NewPCG(3, 4))
	clone := func() *rig {
		return openRig(t, fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50, RNG: rng}))
	}
	require.NoError(t, old.Restore(readerFunc(func(p []byte) (int, error) {
		require.Equal(t, before, clone().hash(), "nothing shows before the stream is whole")
		n := copy(p, stream)
		stream = stream[n:]
		return n, nil
	})))
	require.Equal(t, want, clone().hash(), "what Restore acknowledged is durable")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
