package state

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// tableSize is when Restore begins a new table, in bytes of rows.
const tableSize = 64 << 20

// Restore replaces the whole state by the one in a snapshot stream. It builds
// tables beside the store, and swaps them in at once when the stream turned
// out to be whole: a crash or an error leaves the old state or the new one.
// The new state is durable when Restore returns.
func (m *Machine) Restore(r io.Reader) error {
	dir := m.fs.PathJoin(m.dir, "restore")
	if err := m.fs.RemoveAll(dir); err != nil { // what a crash left
		return fmt.Errorf("restore state: %w", err)
	}
	if err := m.fs.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	b := &tableBuilder{machine: m, dir: dir}
	err := b.build(r)
	if err == nil {
		err = m.swap(b.paths)
	}
	if err = errors.Join(err, m.fs.RemoveAll(dir)); err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	return nil
}

// swap puts tables in the place of all rows.
func (m *Machine) swap(paths []string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	// With nothing left in memory the swap is one edit of the store's
	// manifest. Without this it would wait in memory for the next flush.
	if err := m.flush(); err != nil {
		return err
	}
	all := pebble.KeyRange{Start: firstKey, End: lastKey}
	if _, err := m.db.IngestAndExcise(context.Background(), paths, nil, nil, all); err != nil {
		return err
	}
	if err := m.load(); err != nil {
		m.fail(err)
		return err
	}
	return nil
}

// tableBuilder writes the rows of a snapshot stream into sorted tables.
type tableBuilder struct {
	machine *Machine
	dir     string
	paths   []string
	table   *sstable.Writer
	size    int
}

func (b *tableBuilder) build(r io.Reader) error {
	in := bufio.NewReaderSize(r, 256<<10)
	if _, err := SnapshotIndex(in); err != nil {
		return err
	}
	rows := &snapshotReader{in: in, sum: sha256.New()}
	for {
		more, err := rows.next()
		if err == nil && more {
			err = b.add(rows.key, rows.value)
		}
		if err != nil || !more {
			return errors.Join(err, b.finish())
		}
	}
}

func (b *tableBuilder) add(key, value []byte) error {
	if b.table == nil {
		if err := b.begin(); err != nil {
			return err
		}
	}
	if err := b.table.Set(key, value); err != nil {
		return err
	}
	if b.size += len(key) + len(value); b.size < tableSize {
		return nil
	}
	return b.finish()
}

func (b *tableBuilder) begin() error {
	m := b.machine
	path := m.fs.PathJoin(b.dir, fmt.Sprintf("%06d.sst", len(b.paths)))
	f, err := m.fs.Create(path, "redflag-restore")
	if err != nil {
		return err
	}
	b.table = sstable.NewWriter(objstorageprovider.NewFileWritable(f), m.opts.MakeWriterOptions(0, m.db.TableFormat()))
	b.paths = append(b.paths, path)
	b.size = 0
	return nil
}

func (b *tableBuilder) finish() error {
	if b.table == nil {
		return nil
	}
	err := b.table.Close() // syncs the file
	b.table = nil
	return err
}
