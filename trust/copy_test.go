package trust_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"redflag/trust"
)

func TestCopyVerified(t *testing.T) {
	const payload = "the bytes that were signed"
	sum := sha256.Sum256([]byte(payload))
	hash := hex.EncodeToString(sum[:])
	broken := errors.New("broken pipe")
	for _, tc := range []struct {
		name string
		src  io.Reader
		want error
	}{
		{"exact", strings.NewReader(payload), nil},
		{"exact, a byte at a time", iotest.OneByteReader(strings.NewReader(payload)), nil},
		{"exact, end with the data", iotest.DataErrReader(strings.NewReader(payload)), nil},
		{"short", strings.NewReader(payload[1:]), trust.ErrLength},
		{"empty", strings.NewReader(""), trust.ErrLength},
		{"one byte more", strings.NewReader(payload + "."), trust.ErrLength},
		{"endless", io.MultiReader(strings.NewReader(payload), zeros{}), trust.ErrLength},
		{"one bit off", strings.NewReader("T" + payload[1:]), trust.ErrHash},
		{"broken", io.MultiReader(strings.NewReader(payload[:5]), iotest.ErrReader(broken)), broken},
		{"broken at the end", io.MultiReader(strings.NewReader(payload), iotest.ErrReader(broken)), broken},
	} {
		var dst bytes.Buffer
		err := trust.CopyVerified(&dst, tc.src, int64(len(payload)), hash)
		require.ErrorIs(t, err, tc.want, tc.name)
		require.LessOrEqual(t, dst.Len(), len(payload), tc.name)
		if tc.want == nil {
			require.Equal(t, payload, dst.String(), tc.name)
		}
	}
	require.ErrorIs(t, trust.CopyVerified(io.Discard, zeros{}, 1, "abc"), trust.ErrMalformed)
	require.ErrorIs(t, trust.CopyVerified(io.Discard, zeros{}, -1, hash), trust.ErrMalformed)
}

func TestCopyVerifiedUsesConstantMemory(t *testing.T) {
	const length = 8 << 20
	h := sha256.New()
	_, err := io.CopyN(h, zeros{}, length)
	require.NoError(t, err)
	hash := hex.EncodeToString(h.Sum(nil))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	require.NoError(t, trust.CopyVerified(io.Discard, io.LimitReader(zeros{}, length), length, hash))
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

// zeros is an endless source.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
