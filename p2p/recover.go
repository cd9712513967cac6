package p2p

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // BEP 3 asks for it; what may be installed is decided by another hash
	"hash"
	"io"
)

// recover finds pieces that an earlier process had written and had not kept
// before it died. Where a piece begins and ends with a block of zeroes nothing
// was written, most likely: such are not hashed.
func (p *payload) recover(hashes []byte) error {
	for i := range p.pieces {
		if p.has(i) || !p.written(i) {
			continue
		}
		good, err := p.matches(i, hashes)
		if err != nil {
			return err
		}
		if !good {
			continue
		}
		// Written anew: where a sync has failed, the system takes for written what is
		// not on disk.
		if _, err := io.Copy(io.NewOffsetWriter(p.data, int64(i)*p.pieceLength), p.section(i)); err != nil {
			return diskError("write piece", err)
		}
		if err := p.mark(i); err != nil {
			return err
		}
	}
	return p.keep()
}

func newPieceHash() hash.Hash { return sha1.New() } //nolint:gosec // see above

func (p *payload) section(i int) *io.SectionReader {
	at := int64(i) * p.pieceLength
	return io.NewSectionReader(p.data, at, min(p.pieceLength, p.length-at))
}

// written reports whether something is in the first or the last block of a piece.
func (p *payload) written(i int) bool {
	whole := p.section(i)
	block := make([]byte, min(blockSize, whole.Size()))
	for _, at := range []int64{0, whole.Size() - int64(len(block))} {
		if _, err := whole.ReadAt(block, at); err == nil && len(bytes.TrimLeft(block, "\x00")) > 0 {
			return true
		}
	}
	return false
}
