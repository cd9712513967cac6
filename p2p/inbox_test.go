package p2p

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// message is one of a type that the inbox does not know.
func message(body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

func TestInboxHoldsHavesBack(t *testing.T) {
	keepAlive, piece := message(), message(7, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
	busy := true
	is := func() bool { return busy }
	var b inbox
	require.Equal(t, piece, b.pass(nil, slices.Concat(appendHave(nil, 1), piece, appendHave(nil, 2)), is), "the peer has requests to serve")
	require.Equal(t, keepAlive, b.pass(nil, keepAlive, is))
	busy = false
	require.Equal(t, slices.Concat(appendHave(nil, 1), appendHave(nil, 2), piece), b.pass(nil, piece, is), "in their order, and before the block")
	require.Equal(t, appendHave(nil, 3), b.pass(nil, appendHave(nil, 3), is), "one that is not busy is heard at once")

	busy = true
	for i := range havesKept / haveSize {
		require.Empty(t, b.pass(nil, appendHave(nil, i), is))
	}
	require.Len(t, b.pass(nil, appendHave(nil, 1), is), (havesKept/haveSize+1)*haveSize, "no more of them are kept")
}

// What a peer sends comes through as it is, however it is cut up, but for the
// place of have messages.
func FuzzInbox(f *testing.F) {
	f.Add(slices.Concat(appendHave(nil, 7), message(), message(7, 0, 0), message(4), appendHave(nil, 1<<31)), byte(3), byte(0b101))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 4, 0, 0, 0, 1}, byte(1), byte(0))
	f.Fuzz(func(t *testing.T, stream []byte, cut, mood byte) {
		stream = stream[:min(len(stream), 1<<12)]
		step, turn := 1+int(cut), 0
		busy := func() bool { turn++; return mood>>(turn%8)&1 == 1 }
		var held, open inbox
		var out, plain []byte
		for p := range slices.Chunk(stream, step) {
			out = held.pass(out, p, busy)
			plain = open.pass(plain, p, func() bool { return false })
		}
		require.True(t, bytes.Equal(stream, append(plain, open.head...)), "nothing is held back without need")
		require.Len(t, out, len(stream)-len(held.head)-len(held.haves))
		theirs, haves := parts(append(out, held.head...))
		wantTheirs, wantHaves := parts(stream)
		require.True(t, bytes.Equal(wantTheirs, theirs), "what is no have message stays as it is")
		require.True(t, bytes.Equal(wantHaves, append(haves, held.haves...)), "have messages come in their order")
	})
}

// parts tells the have messages of a stream from all else.
func parts(p []byte) (others, haves []byte) {
	for len(p) >= haveSize {
		n := int64(prefixSize) + int64(binary.BigEndian.Uint32(p))
		if isHave(p) {
			haves = append(haves, p[:n]...)
		} else {
			n = min(n, int64(len(p)))
			others = append(others, p[:n]...)
		}
		p = p[n:]
	}
	return append(others, p...), haves
}
