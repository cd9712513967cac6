package state

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// A snapshot stream is a magic word, the applied index, every row in order of
// the keys, an empty key, and the SHA-256 of the rows as they were written.
const snapshotMagic = "RFSTATE1"

// Snapshot is the whole state at one entry. It costs nothing to take and can
// be written while entries are applied; close it soon, for it pins old files.
type Snapshot struct {
	index uint64
	rows  *rows
}

// Snapshot returns the state as it is now.
func (m *Machine) Snapshot() (*Snapshot, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if err := m.Err(); err != nil {
		return nil, err
	}
	// An iterator and not the store's own snapshot: a Restore in the meantime
	// takes rows away from the latter.
	all, err := m.rowsLocked(firstKey, lastKey)
	if err != nil {
		return nil, err
	}
	return &Snapshot{index: m.Applied(), rows: all}, nil
}

// Index returns the log index of the last entry in the snapshot.
func (s *Snapshot) Index() uint64 { return s.index }

// Close releases what the snapshot pins.
func (s *Snapshot) Close() error { return s.rows.Close() }

// Size returns how many bytes Write is going to write. It reads everything.
func (s *Snapshot) Size() (int64, error) {
	n := int64(len(snapshotMagic) + 8 + 1 + sha256.Size)
	var frame []byte
	for ok := s.rows.First(); ok; ok = s.rows.Next() {
		frame = appendRow(frame[:0], s.rows.Key(), s.rows.Value())
		n += int64(len(frame))
	}
	return n, s.rows.Error()
}

// Write writes the stream that Restore reads.
func (s *Snapshot) Write(w io.Writer) error {
	buf := bufio.NewWriterSize(w, 256<<10)
	_, _ = buf.WriteString(snapshotMagic) // an error sticks until Flush
	_, _ = buf.Write(binary.BigEndian.AppendUint64(nil, s.index))
	sum, err := s.writeRows(buf)
	if err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	_ = buf.WriteByte(0)
	_, _ = buf.Write(sum)
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// writeRows writes every row and returns the hash of what it wrote.
func (s *Snapshot) writeRows(w io.Writer) ([]byte, error) {
	sum := sha256.New()
	both := io.MultiWriter(w, sum)
	var frame []byte
	for ok := s.rows.First(); ok; ok = s.rows.Next() {
		frame = appendRow(frame[:0], s.rows.Key(), s.rows.Value())
		if _, err := both.Write(frame); err != nil {
			return nil, err
		}
	}
	return sum.Sum(nil), s.rows.Error()
}

func appendRow(b, key, value []byte) []byte {
	b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
	return append(binary.AppendUvarint(b, uint64(len(value))), value...)
}

// Hash returns a SHA-256 over all rows, the applied index included. It is
// equal on all nodes that applied the same entries.
func (m *Machine) Hash() ([]byte, error) {
	s, err := m.Snapshot()
	if err != nil {
		return nil, err
	}
	sum, err := s.writeRows(io.Discard)
	return sum, errors.Join(err, s.Close())
}
