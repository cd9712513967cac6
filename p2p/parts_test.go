package p2p

import (
	"bytes"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/stretchr/testify/require"
)

func TestMakeTorrentIsCanonical(t *testing.T) {
	payload := strings.Repeat("redflag", 100_000)
	a, err := MakeTorrent(strings.NewReader(payload), int64(len(payload)))
	require.NoError(t, err)
	b, err := MakeTorrent(bytes.NewBufferString(payload), int64(len(payload)))
	require.NoError(t, err)
	require.Equal(t, a, b)
	_, err = a.check()
	require.NoError(t, err)
	require.Len(t, a.Info, infoSize(a.Length, a.PieceLength))

	// The library reads the same from it, and finds it private.
	info, err := (&metainfo.MetaInfo{InfoBytes: a.Info}).UnmarshalInfo()
	require.NoError(t, err)
	require.True(t, *info.Private)
	l, err := layoutOf(&info)
	require.NoError(t, err)
	require.Equal(t, a.Info, l.encode())

	for _, length := range []int64{0, -1, int64(len(payload)) - 1, int64(len(payload)) + 1} {
		_, err = MakeTorrent(strings.NewReader(payload), length)
		require.ErrorIs(t, err, ErrInvalid)
	}
}

func TestPieceLengthKeepsTheCountSane(t *testing.T) {
	for _, length := range []int64{1, 40 << 20, 512 << 20, 512<<20 + 1, 16 << 30, 1 << 40} {
		size := PieceLengthFor(length)
		require.NoError(t, checkDimensions(length, size))
		if size < maxPieceLength {
			require.LessOrEqual(t, countPieces(length, size), goodPieces)
		}
	}
}

func TestGreetingIsBoundToTheCertificate(t *testing.T) {
	for _, tc := range []struct {
		speaks string
		want   error
	}{{"agent-1", nil}, {"agent-2", errWrongID}} {
		near, far := net.Pipe()
		id := clientID(tc.speaks)
		go func() {
			_, _ = far.Write(append(make([]byte, greetingSize-len(id)), id[:]...))
			_, _ = far.Write([]byte("more"))
			_ = far.Close()
		}()
		c := &conn{Conn: near, peer: Peer{ID: "agent-1"}, swarm: &Swarm{}, greeting: make([]byte, 0, greetingSize)}
		var err error
		for n := 0; n < greetingSize && err == nil; {
			var k int
			k, err = c.Read(make([]byte, 30))
			n += k
		}
		require.ErrorIs(t, err, tc.want)
	}
}

func TestBitsWithoutDataCountForNothing(t *testing.T) {
	const pieceLength, length = minPieceLength, 10 * minPieceLength
	dir := t.TempDir()
	p := newPayload(dir, length, pieceLength)
	require.NoError(t, p.writeBits())
	require.NoError(t, p.create())
	require.NoError(t, p.mark(9))
	require.NoError(t, p.mark(9))
	p.close()

	again := newPayload(dir, length, pieceLength)
	require.NoError(t, again.readBits())
	require.True(t, again.has(9))
	require.EqualValues(t, pieceLength, again.done())

	require.NoError(t, os.Truncate(filepath.Join(dir, fileData), 1))
	lost := newPayload(dir, length, pieceLength)
	require.NoError(t, lost.readBits())
	require.Zero(t, lost.done())
}

// The library reads for a peer without its lock, and panics if that fails because
// the payload was dropped meanwhile.
func TestReadOfADroppedPayload(t *testing.T) {
	const pieceLength = minPieceLength
	p := newPayload(t.TempDir(), pieceLength, pieceLength)
	require.NoError(t, p.create())
	info := metainfo.Info{Length: pieceLength, PieceLength: pieceLength, Pieces: make([]byte, metainfo.HashSize)}
	c := &piece{p, info.Piece(0)}
	p.close()
	b := []byte{1, 2, 3}
	n, err := c.ReadAt(b, 0)
	require.NoError(t, err)
	require.Equal(t, len(b), n)
	require.Equal(t, make([]byte, 3), b)
	require.NoError(t, p.failure(), "no disk is broken")
}

// A process that dies loses no piece, though pieces are synced together.
func TestVerifiedPiecesAreKeptTogether(t *testing.T) {
	const pieces, length = 5, 5*minPieceLength - 7
	data := make([]byte, length)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data)
	clear(data[minPieceLength : minPieceLength+blockSize]) // a piece may begin so
	torrent, err := MakeTorrent(bytes.NewReader(data), length)
	require.NoError(t, err)
	info, err := parseInfo(torrent.Info)
	require.NoError(t, err)
	open := func(dir string) *payload {
		p := newPayload(dir, length, minPieceLength)
		if _, err := os.Stat(filepath.Join(dir, filePieces)); err == nil {
			require.NoError(t, p.readBits())
		} else {
			require.NoError(t, p.writeBits())
		}
		require.NoError(t, p.create())
		return p
	}
	dir := t.TempDir()
	first := open(dir)
	for i := range 3 {
		at := i * minPieceLength
		_, err := first.data.WriteAt(data[at:at+minPieceLength], int64(at))
		require.NoError(t, err)
		require.NoError(t, first.mark(i))
	}
	require.NoError(t, first.unmark(2))

	again := open(dir)
	require.True(t, again.has(0))
	require.False(t, again.has(1), "not synced yet")
	require.NoError(t, again.recover(info.hashes))
	require.True(t, again.has(1))
	require.True(t, again.has(2))
	require.False(t, again.isComplete())
	for i := 3; i < pieces; i++ {
		at := i * minPieceLength
		_, err := again.data.WriteAt(data[at:min(length, at+minPieceLength)], int64(at))
		require.NoError(t, err)
		require.NoError(t, again.mark(i))
	}
	require.True(t, again.isComplete())
	require.True(t, again.stamped())
	last := open(dir)
	require.True(t, last.isComplete())
	require.EqualValues(t, length, last.done())
}

func TestBookIsBounded(t *testing.T) {
	b := newBook()
	for i := range maxBook + 10 {
		b.met(Peer{ID: string(rune(i)) + "x"})
	}
	require.LessOrEqual(t, len(b.entries), maxBook)
}

func FuzzParseInfo(f *testing.F) {
	payload := strings.Repeat("x", 300_000)
	t, err := MakeTorrent(strings.NewReader(payload), int64(len(payload)))
	require.NoError(f, err)
	f.Add(t.Info)
	f.Add([]byte("d6:lengthi1e4:name7:payload12:piece lengthi262144e6:pieces20:"))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := parseInfo(b)
		if err == nil && !bytes.Equal(l.encode(), b) {
			t.Fatalf("%q reads as another dictionary", b)
		}
	})
}

func FuzzReadBits(f *testing.F) {
	f.Add([]byte{0xff, 0xff})
	f.Add([]byte{0x00})
	f.Fuzz(func(t *testing.T, b []byte) {
		const length = 11*minPieceLength - 5
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, filePieces), b, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, fileData), nil, 0o600))
		require.NoError(t, os.Truncate(filepath.Join(dir, fileData), length))
		p := newPayload(dir, length, minPieceLength)
		require.NoError(t, p.readBits())
		if n := p.done(); n < 0 || n > length || p.missing < 0 || (n == length) != (p.missing == 0) {
			t.Fatalf("%d bytes done, %d pieces missing", n, p.missing)
		}
	})
}

// TestFailedSyncIsNotForgotten: the sync after one that failed succeeds, though what
// the first had to write is gone.
func TestFailedSyncIsNotForgotten(t *testing.T) {
	p := newPayload(t.TempDir(), 2*minPieceLength, minPieceLength)
	require.NoError(t, p.create())
	require.NoError(t, p.writeBits())
	good := p.data
	broken, err := os.Open(good.Name())
	require.NoError(t, err)
	require.NoError(t, broken.Close())
	p.data = broken
	require.ErrorIs(t, p.mark(0), ErrDisk)
	p.data = good
	require.ErrorIs(t, p.keep(), ErrDisk)
	p.close()

	again := newPayload(p.dir, p.length, p.pieceLength)
	require.NoError(t, again.readBits())
	require.False(t, again.has(0))
}
