package p2p

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"github.com/anacrolix/torrent/metainfo"
)

const (
	minPieceLength = 128 << 10
	maxPieceLength = 16 << 20
	// goodPieces is the piece count up to which pieces stay small.
	goodPieces = 1024
	maxPieces  = 1 << 16
	hashSize   = 20 // SHA-1, BEP 3
	// infoName is the name in every info dictionary. It is constant so that the
	// same bytes have the same info hash wherever the torrent is made.
	infoName = "payload"
	// maxInfo bounds an info dictionary in bytes.
	maxInfo = maxPieces*hashSize + 512
)

// layout is what an info dictionary says.
type layout struct {
	length      int64
	pieceLength int64
	hashes      []byte // of the pieces, one after the other
}

// PieceLengthFor is the length of the pieces of a payload, in bytes. It keeps it
// between 128 KiB and 16 MiB and the count of pieces, if it can, at 1024 or less.
func PieceLengthFor(length int64) int64 {
	size := int64(minPieceLength)
	for size < maxPieceLength && length > goodPieces*size {
		size *= 2
	}
	return size
}

func countPieces(length, pieceLength int64) int {
	return int((length + pieceLength - 1) / pieceLength)
}

// checkDimensions refuses lengths that no torrent of ours has.
func checkDimensions(length, pieceLength int64) error {
	switch {
	case length <= 0:
		return fmt.Errorf("%w: length %d", ErrInvalid, length)
	case pieceLength < minPieceLength, pieceLength > maxPieceLength, pieceLength&(pieceLength-1) != 0:
		return fmt.Errorf("%w: piece length %d", ErrInvalid, pieceLength)
	case length > maxPieces*pieceLength:
		return fmt.Errorf("%w: length %d with pieces of %d", ErrInvalid, length, pieceLength)
	}
	return nil
}

// encode returns the one form that an info dictionary has (BEP 3, BEP 27).
func (l layout) encode() []byte {
	b := l.head()
	b = append(b, l.hashes...)
	return append(b, infoTail...)
}

const infoTail = "7:privatei1ee"

func (l layout) head() []byte {
	return fmt.Appendf(nil, "d6:lengthi%de4:name%d:%s12:piece lengthi%de6:pieces%d:",
		l.length, len(infoName), infoName, l.pieceLength, countPieces(l.length, l.pieceLength)*hashSize)
}

// infoSize is the size of an info dictionary that is not known yet, in bytes.
func infoSize(length, pieceLength int64) int {
	l := layout{length: length, pieceLength: pieceLength}
	return len(l.head()) + countPieces(length, pieceLength)*hashSize + len(infoTail)
}

// parseInfo reads an info dictionary. It takes the one form only, so that what
// it says and what its hash covers are the same.
func parseInfo(b []byte) (layout, error) {
	if len(b) > maxInfo {
		return layout{}, fmt.Errorf("%w: info dictionary of %d bytes", ErrInvalid, len(b))
	}
	var l layout
	const head = "d6:lengthi%de4:name7:" + infoName + "12:piece lengthi%de6:pieces"
	if _, err := fmt.Sscanf(string(b[:min(len(b), 128)]), head, &l.length, &l.pieceLength); err != nil {
		return layout{}, fmt.Errorf("%w: info dictionary has another form than ours", ErrInvalid)
	}
	if err := checkDimensions(l.length, l.pieceLength); err != nil {
		return layout{}, err
	}
	if len(b) == infoSize(l.length, l.pieceLength) {
		l.hashes = b[len(l.head()) : len(b)-len(infoTail)]
	}
	if !bytes.Equal(l.encode(), b) {
		return layout{}, fmt.Errorf("%w: info dictionary has another form than ours", ErrInvalid)
	}
	return l, nil
}

// layoutOf checks what the library has read from peers.
func layoutOf(info *metainfo.Info) (layout, error) {
	l := layout{length: info.Length, pieceLength: info.PieceLength, hashes: info.Pieces}
	if err := checkDimensions(l.length, l.pieceLength); err != nil {
		return layout{}, err
	}
	if len(l.hashes) != countPieces(l.length, l.pieceLength)*hashSize {
		return layout{}, fmt.Errorf("%w: %d bytes of piece hashes", ErrInvalid, len(l.hashes))
	}
	return l, nil
}

// parseHash reads an info hash in lower-case hex.
func parseHash(s string) (metainfo.Hash, error) {
	var h metainfo.Hash
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(h) || hex.EncodeToString(b) != s {
		return h, fmt.Errorf("%w: info hash %q", ErrInvalid, s)
	}
	copy(h[:], b)
	return h, nil
}
