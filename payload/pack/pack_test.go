package pack_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"redflag/payload/pack"
)

func packed(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	require.NoError(tb, pack.Pack(&out, bytes.NewReader(b), 3))
	return out.Bytes()
}

func unpack(tb testing.TB, b []byte, length int64) ([]byte, error) {
	tb.Helper()
	r, err := pack.NewReader(bytes.NewReader(b), length)
	require.NoError(tb, err)
	defer r.Close()
	return io.ReadAll(r)
}

func TestRoundTrip(t *testing.T) {
	want := bytes.Repeat([]byte("the same again, "), 1<<16)
	got, err := unpack(t, packed(t, want), int64(len(want)))
	require.NoError(t, err)
	require.True(t, bytes.Equal(want, got))
}

// A bomb unpacks to no more than was signed.
func TestRefusals(t *testing.T) {
	const signed = 1000
	wide := &bytes.Buffer{}
	z, err := zstd.NewWriter(wide, zstd.WithWindowSize(64<<20))
	require.NoError(t, err)
	for range 3 {
		_, err = z.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	for name, c := range map[string]struct {
		stream []byte
		want   error
	}{
		"bomb":           {packed(t, make([]byte, 64<<20)), pack.ErrLength},
		"a byte more":    {packed(t, make([]byte, signed+1)), pack.ErrLength},
		"a byte less":    {packed(t, make([]byte, signed-1)), pack.ErrLength},
		"two frames":     {append(packed(t, make([]byte, signed)), packed(t, []byte("more"))...), pack.ErrLength},
		"empty":          {nil, pack.ErrLength},
		"not zstd":       {make([]byte, 100), pack.ErrFormat},
		"cut":            {packed(t, bytes.Repeat([]byte("abcdefghij"), 100))[:20], pack.ErrFormat},
		"trailing bytes": {append(packed(t, make([]byte, signed)), "trailing"...), pack.ErrFormat},
		"window":         {wide.Bytes(), pack.ErrFormat},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := unpack(t, c.stream, signed)
			require.ErrorIs(t, err, c.want)
			require.LessOrEqual(t, len(got), signed)
		})
	}
}

// FuzzReader feeds the unpacker what a peer or a broken disk could.
func FuzzReader(f *testing.F) {
	f.Add(packed(f, bytes.Repeat([]byte("abc"), 333)))
	f.Add(packed(f, make([]byte, 1000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := unpack(t, b, 1000)
		if len(got) > 1000 || (err == nil && len(got) != 1000) {
			t.Fatalf("%d bytes came out, 1000 were signed: %v", len(got), err)
		}
	})
}
