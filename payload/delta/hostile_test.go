package delta_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"redflag/payload/delta"
)

// crafted is a patch with these sections, which nobody has checked.
func crafted(tb testing.TB, from, to int, sections []byte) []byte {
	tb.Helper()
	head := binary.AppendUvarint(binary.AppendUvarint([]byte("RFD1"), uint64(from)), uint64(to))
	z, err := zstd.NewWriter(nil)
	require.NoError(tb, err)
	return z.EncodeAll(sections, head)
}

// section is one of a single step.
func section(seek int64, take, fresh uint64, rest []byte) []byte {
	b := binary.AppendUvarint(nil, 1)
	b = binary.AppendVarint(b, seek)
	b = binary.AppendUvarint(b, take)
	return append(binary.AppendUvarint(b, fresh), rest...)
}

func TestHostilePatches(t *testing.T) {
	old := random(1000, 2)
	good := patch(t, old, old[10:])
	many := binary.AppendUvarint(nil, 1<<40)
	for name, c := range map[string]struct {
		patch []byte
		want  error
	}{
		"empty":              {nil, delta.ErrFormat},
		"not a patch":        {[]byte("RFD2 something else"), delta.ErrFormat},
		"cut":                {good[:len(good)-3], delta.ErrFormat},
		"other old":          {patch(t, old[1:], old[10:]), delta.ErrVersions},
		"longer new":         {patch(t, old, old[9:]), delta.ErrVersions},
		"goes on":            {crafted(t, 1000, 990, append(section(10, 990, 0, make([]byte, 990)), 1)), delta.ErrFormat},
		"too much in one":    {crafted(t, 1000, 990, section(0, 1000, 0, make([]byte, 1000))), delta.ErrFormat},
		"too much new":       {crafted(t, 1000, 990, section(0, 0, 1<<62, nil)), delta.ErrFormat},
		"before the old":     {crafted(t, 1000, 990, section(-1, 990, 0, make([]byte, 990))), delta.ErrFormat},
		"after the old":      {crafted(t, 1000, 990, section(11, 990, 0, make([]byte, 990))), delta.ErrFormat},
		"far after the old":  {crafted(t, 1000, 990, section(1<<62, 990, 0, make([]byte, 990))), delta.ErrFormat},
		"no steps":           {crafted(t, 1000, 990, []byte{0}), delta.ErrFormat},
		"many steps":         {crafted(t, 1000, 990, many), delta.ErrFormat},
		"steps of nothing":   {crafted(t, 1000, 990, section(0, 0, 0, nil)), delta.ErrFormat},
		"ends early":         {crafted(t, 1000, 990, section(0, 5, 0, make([]byte, 5))), delta.ErrFormat},
		"trailing bytes":     {append(bytes.Clone(good), "more"...), delta.ErrFormat},
		"a window too large": {wideWindow(t), delta.ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := apply(old, 990, c.patch)
			require.ErrorIs(t, err, c.want)
			require.LessOrEqual(t, len(out), 990)
		})
	}
	broken := errors.New("disk is gone")
	err := delta.Apply(io.Discard, failing{broken}, 1000, 990, bytes.NewReader(good))
	require.ErrorIs(t, err, broken)
	require.NotErrorIs(t, err, delta.ErrFormat, "the patch is not to blame")
}

// wideWindow is a patch whose stream would take 64 MiB of memory.
func wideWindow(tb testing.TB) []byte {
	tb.Helper()
	head := binary.AppendUvarint(binary.AppendUvarint([]byte("RFD1"), 1000), 990)
	b := bytes.NewBuffer(head)
	z, err := zstd.NewWriter(b, zstd.WithWindowSize(64<<20))
	require.NoError(tb, err)
	for range 3 { // in parts, so that the frame does not know how short it is
		_, err = z.Write(make([]byte, 1<<20))
		require.NoError(tb, err)
	}
	require.NoError(tb, z.Close())
	return b.Bytes()
}

type failing struct{ err error }

func (f failing) ReadAt([]byte, int64) (int, error) { return 0, f.err }

// FuzzApply feeds the patch decoder what a peer, a node or a broken disk could.
func FuzzApply(f *testing.F) {
	old := random(5000, 3)
	fresh := append(bytes.Clone(old[100:4000]), random(100, 4)...)
	f.Add(patch(f, old, fresh))
	f.Add(crafted(f, len(old), len(fresh), section(0, 3000, 1000, make([]byte, 4000))))
	f.Fuzz(func(t *testing.T, p []byte) {
		out, err := apply(old, len(fresh), p)
		if len(out) > len(fresh) || (err == nil && len(out) != len(fresh)) {
			t.Fatalf("%d bytes were made, %d were signed: %v", len(out), len(fresh), err)
		}
	})
}

// FuzzSections skips the compression, so that the fuzzer reaches the steps.
func FuzzSections(f *testing.F) {
	old := random(5000, 3)
	f.Add(section(0, 3000, 1000, make([]byte, 4000)))
	f.Add(section(-3, 0, 4000, make([]byte, 4000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := apply(old, 4000, crafted(t, len(old), 4000, b))
		if len(out) > 4000 || (err == nil && len(out) != 4000) {
			t.Fatalf("%d bytes were made: %v", len(out), err)
		}
	})
}

// FuzzRoundTrip makes and applies a patch between any two versions.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("one version of a payload, and so on"), []byte("another version of a payload, and so on"))
	f.Add(bytes.Repeat([]byte("abcd"), 100), bytes.Repeat([]byte("bcda"), 90))
	f.Fuzz(func(t *testing.T, old, fresh []byte) {
		got, err := apply(old, len(fresh), patch(t, old, fresh))
		require.NoError(t, err)
		require.True(t, bytes.Equal(fresh, got))
	})
}

// heapPeak is a writer that notes how much memory is in use as it is fed.
type heapPeak struct {
	written int
	most    uint64
}

func (h *heapPeak) Write(p []byte) (int, error) {
	const every = 4 << 20
	if h.written/every != (h.written+len(p))/every {
		h.look()
	}
	h.written += len(p)
	return len(p), nil
}

func (h *heapPeak) look() {
	var now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&now)
	h.most = max(h.most, now.HeapAlloc)
}

// A payload is never in memory: what is held does not grow with it.
func TestApplyUsesBoundedMemory(t *testing.T) {
	const size = 48 << 20
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, "old"), filepath.Join(dir, "new")
	require.NoError(t, os.WriteFile(old, nil, 0o600))
	require.NoError(t, os.Truncate(old, size))
	require.NoError(t, os.WriteFile(fresh, random(1<<20, 5), 0o600))
	require.NoError(t, os.Truncate(fresh, size+1))
	var p bytes.Buffer
	require.NoError(t, delta.MakeFiles(&p, old, fresh, 1))
	f, err := os.Open(old)
	require.NoError(t, err)
	defer f.Close()
	var before, during heapPeak
	before.look()
	require.NoError(t, delta.Apply(&during, f, size, size+1, bytes.NewReader(p.Bytes())))
	require.Less(t, during.most, before.most+40<<20)
}
