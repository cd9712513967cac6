package p2p

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// tlsRecord makes a TLS record of a type with a body of n bytes.
func tlsRecord(kind byte, n int) []byte {
	b := make([]byte, tlsHeader+n)
	b[0], b[1], b[3], b[4] = kind, 3, byte(n>>8), byte(n)
	return b
}

func TestTLSRecordsKnowWhatIsMissing(t *testing.T) {
	var r tlsRecords
	r.saw(append(tlsRecord(tlsHandshake, 100), tlsRecord(23, 16401)[:tlsHeader+1]...))
	require.Equal(t, 16400, r.left)
	r.saw(make([]byte, 16399))
	require.Equal(t, 1, r.left)
	r.saw(append(make([]byte, 1), 23, 3, 3))
	require.Zero(t, r.left, "the header has begun")
	r.saw([]byte{1, 0})
	require.Equal(t, 256, r.left)
}

func TestTLSRecordsLeaveOtherStreamsAlone(t *testing.T) {
	var r tlsRecords
	r.saw([]byte("\x13BitTorrent protocol and what follows"))
	require.Zero(t, r.left)
	r.saw(tlsRecord(tlsHandshake, 1000)[:tlsHeader])
	require.Zero(t, r.left)
}

// However a stream is cut, the same is missing at its end.
func FuzzTLSRecords(f *testing.F) {
	f.Add(append(tlsRecord(tlsHandshake, 7), tlsRecord(23, 300)...), uint8(3))
	f.Add([]byte("\x13BitTorrent protocol"), uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		var whole, cut tlsRecords
		whole.saw(stream)
		for p := stream; len(p) > 0; {
			n := min(len(p), int(step)+1)
			cut.saw(p[:n])
			p = p[n:]
		}
		require.Equal(t, whole.left, cut.left)
		require.GreaterOrEqual(t, whole.left, 0)
		require.LessOrEqual(t, whole.left, 1<<16-1)
	})
}
