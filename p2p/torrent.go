package p2p

import (
	"fmt"
	"io"

	"github.com/anacrolix/torrent/metainfo"
)

// Torrent describes a payload to a swarm.
type Torrent struct {
	InfoHash    string // lower-case hex
	PieceLength int64  // bytes
	Length      int64  // bytes
	Info        []byte // bencoded info dictionary
}

// MakeTorrent reads a payload of exactly length bytes and describes it. It
// holds no more than a piece's hash state in memory. The same bytes always
// give the same info hash.
func MakeTorrent(r io.Reader, length int64) (Torrent, error) {
	pieceLength := PieceLengthFor(length)
	if err := checkDimensions(length, pieceLength); err != nil {
		return Torrent{}, fmt.Errorf("make torrent: %w", err)
	}
	counted := &countingReader{r: io.LimitReader(r, length+1)}
	hashes, err := metainfo.GeneratePieces(counted, pieceLength, nil)
	if err != nil {
		return Torrent{}, fmt.Errorf("make torrent: %w", err)
	}
	if counted.n != length {
		return Torrent{}, fmt.Errorf("make torrent: %w: the payload does not have %d bytes", ErrInvalid, length)
	}
	info := layout{length: length, pieceLength: pieceLength, hashes: hashes}.encode()
	return Torrent{
		InfoHash:    metainfo.HashBytes(info).HexString(),
		PieceLength: pieceLength,
		Length:      length,
		Info:        info,
	}, nil
}

// check verifies that the parts of a torrent belong together.
func (t Torrent) check() (metainfo.Hash, error) {
	hash, err := parseHash(t.InfoHash)
	if err != nil {
		return hash, err
	}
	l, err := parseInfo(t.Info)
	if err != nil {
		return hash, err
	}
	if metainfo.HashBytes(t.Info) != hash {
		return hash, fmt.Errorf("%w: %w", ErrInvalid, errBadInfo)
	}
	if l.length != t.Length || l.pieceLength != t.PieceLength {
		return hash, ErrInfoMismatch
	}
	return hash, nil
}

type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
