package state

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
)

// Bounds of what Restore believes, in bytes.
const (
	maxKey   = 1 << 10
	maxValue = 64 << 20 // a bitmap of 500 million agents
)

var errSnapshot = errors.New("snapshot is malformed")

// SnapshotIndex reads the head of a snapshot stream and returns the log index
// of the last entry in it.
func SnapshotIndex(r io.Reader) (uint64, error) {
	head := make([]byte, len(snapshotMagic)+8)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, fmt.Errorf("read snapshot: %w", err)
	}
	if string(head[:len(snapshotMagic)]) != snapshotMagic {
		return 0, fmt.Errorf("read snapshot: %w: unknown format", errSnapshot)
	}
	return binary.BigEndian.Uint64(head[len(snapshotMagic):]), nil
}

// snapshotReader yields the rows of a stream and checks it on the way.
type snapshotReader struct {
	in         *bufio.Reader
	sum        hash.Hash
	key, value []byte
	frame      []byte
}

// next reads a row into key and value and returns false after the last one,
// when the hash was right.
func (r *snapshotReader) next() (bool, error) {
	size, err := readLength(r.in, maxKey)
	if err != nil {
		return false, err
	}
	if size == 0 {
		return false, r.finish()
	}
	key := make([]byte, size)
	if _, err := io.ReadFull(r.in, key); err != nil {
		return false, fmt.Errorf("read key: %w", err)
	}
	if string(key) <= string(r.key) || string(key) < string(firstKey) || string(key) >= string(lastKey) {
		return false, fmt.Errorf("%w: keys are out of order", errSnapshot)
	}
	r.key = key
	if r.value, err = r.readValue(); err != nil {
		return false, err
	}
	r.frame = appendRow(r.frame[:0], r.key, r.value)
	r.sum.Write(r.frame)
	return true, nil
}

func (r *snapshotReader) readValue() ([]byte, error) {
	size, err := readLength(r.in, maxValue)
	if err != nil {
		return nil, err
	}
	// The buffer grows with what is there, not with what is claimed.
	value, err := io.ReadAll(io.LimitReader(r.in, size))
	if err != nil {
		return nil, fmt.Errorf("read value: %w", err)
	}
	if int64(len(value)) != size {
		return nil, fmt.Errorf("%w: it is cut short", errSnapshot)
	}
	return value, nil
}

func readLength(in io.ByteReader, limit uint64) (int64, error) {
	size, err := binary.ReadUvarint(in)
	if err != nil {
		return 0, fmt.Errorf("read length: %w", err)
	}
	if size > limit {
		return 0, fmt.Errorf("%w: a length of %d", errSnapshot, size)
	}
	return int64(size), nil
}

func (r *snapshotReader) finish() error {
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(r.in, want); err != nil {
		return fmt.Errorf("read hash: %w", err)
	}
	if string(want) != string(r.sum.Sum(nil)) {
		return fmt.Errorf("%w: the hash is not that of the rows", errSnapshot)
	}
	return nil
}
