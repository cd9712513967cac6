package state

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// FuzzApply feeds two machines the same bytes: they must agree on the outcome
// and on the state, and a refused entry must leave no trace.
func FuzzApply(f *testing.F) {
	for _, b := range samples() {
		f.Add(mustEncode(f, b))
	}
	a, b := prepared(f), prepared(f)
	f.Fuzz(func(t *testing.T, entry []byte) {
		a.TB, b.TB = t, t
		before := a.rows()
		index := a.Applied() + 1
		resultA, errA := a.Apply(Entry{index, entry})
		resultB, errB := b.Apply(Entry{index, entry})
		require.Equal(t, errA == nil, errB == nil)
		require.Equal(t, resultA, resultB)
		require.Equal(t, a.hash(), b.hash())
		if errA != nil {
			require.ErrorIs(t, errA, ErrCorrupt)
			require.ErrorIs(t, CheckEntry(entry), ErrCorrupt)
			require.Equal(t, before, a.rows())
		}
	})
}

// prepared is a machine on which every sample can do something.
func prepared(tb testing.TB) *rig {
	tb.Helper()
	r := newRig(tb)
	for _, b := range samples()[:8] {
		if b.entryType() != TypeInitCluster {
			r.must(b)
		}
	}
	return r
}

// FuzzRestore feeds Restore arbitrary streams: a refused one changes nothing.
func FuzzRestore(f *testing.F) {
	f.Add([]byte(snapshotMagic))
	r := newRig(f)
	r.must(token("t1", api.TokenAgent, 1, nil))
	f.Add(r.snapshot())
	f.Fuzz(func(t *testing.T, stream []byte) {
		r.TB = t
		before := r.hash()
		if r.Restore(bytes.NewReader(stream)) != nil {
			require.Equal(t, before, r.hash())
		}
	})
}
