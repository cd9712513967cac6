package delta_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/payload/delta"
)

func patch(tb testing.TB, old, fresh []byte) []byte {
	tb.Helper()
	var b bytes.Buffer
	require.NoError(tb, delta.Make(&b, old, fresh, 3))
	return b.Bytes()
}

func apply(old []byte, length int, patch []byte) ([]byte, error) {
	var b bytes.Buffer
	err := delta.Apply(&b, bytes.NewReader(old), int64(len(old)), int64(length), bytes.NewReader(patch))
	return b.Bytes(), err
}

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	base := random(5<<20, 1)
	moved := append(append(append([]byte("ahead"), base[3<<20:]...), base[:3<<20]...), base[100:5000]...)
	sprinkled := bytes.Clone(base)
	for i := 0; i < len(sprinkled); i += 97 {
		sprinkled[i] += 3
	}
	for name, c := range map[string]struct {
		old, fresh []byte
		most       int
	}{
		"same":              {base, base, 2000},
		"nothing in common": {base[:1<<20], base[2<<20 : 3<<20], 1<<20 + 1000},
		"from nothing":      {nil, base[:1000], 1100},
		"to a byte":         {base, base[:1], 50},
		"moved":             {base, moved, 3000},
		"sprinkled":         {base, sprinkled, 30000},
		"zeros":             {make([]byte, 3<<20), make([]byte, 5<<20), 2000},
		"shorter than seed": {[]byte("abc"), []byte("abcd"), 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := patch(t, c.old, c.fresh)
			require.LessOrEqual(t, len(p), c.most)
			got, err := apply(c.old, len(c.fresh), p)
			require.NoError(t, err)
			require.True(t, bytes.Equal(c.fresh, got))
		})
	}
}
