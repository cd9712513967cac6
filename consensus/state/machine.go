package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Memory of the store in bytes. The cache grows only with use.
const (
	cacheSize    = 32 << 20
	memTableSize = 8 << 20
)

// ErrClosed says that the machine was closed.
var ErrClosed = errors.New("state machine is closed")

// Machine is the replicated state. Apply and Restore belong to one caller at a
// time; everything else may come from anywhere at any time.
type Machine struct {
	fs   vfs.FS
	dir  string
	opts *pebble.Options
	db   *pebble.DB

	// mu keeps readers from seeing the index and the rows at different
	// entries. It is held for one entry at a time, so a reader waits little.
	mu      sync.RWMutex
	index   *index
	closed  bool
	readers sync.WaitGroup // those that read rows without mu
	applied atomic.Uint64
	level   atomic.Int64 // of the entries that the cluster uses

	// broken is the first error of the disk, and stopped is closed with it.
	// After it nothing is applied.
	broken  atomic.Pointer[error]
	stopped chan struct{}
}

// Entry is an entry of the log at its place.
type Entry struct {
	Index uint64
	Data  []byte
}

// Open opens the state in a folder, which it creates if need be.
func Open(dir string) (*Machine, error) { return OpenFS(vfs.Default, dir) }

// OpenFS opens the state on a file system: a test's, that can lose power.
func OpenFS(fs vfs.FS, dir string) (*Machine, error) {
	m := &Machine{fs: fs, dir: dir, stopped: make(chan struct{})}
	m.opts = m.options()
	var err error
	if m.db, err = pebble.Open(fs.PathJoin(dir, "db"), m.opts); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	if err := m.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open state: %w", err), m.db.Close())
	}
	return m, nil
}

func (m *Machine) options() *pebble.Options {
	opts := &pebble.Options{
		FS:                 m.fs,
		DisableWAL:         true, // the Raft log is the write-ahead log
		CacheSize:          cacheSize,
		MemTableSize:       memTableSize,
		FormatMajorVersion: pebble.FormatColumnarBlocks,
		Logger:             silence{},
		EventListener:      &pebble.EventListener{BackgroundError: m.fail},
	}
	opts.EnsureDefaults() // Restore makes tables by them
	return opts
}

// load derives everything in memory from the rows.
func (m *Machine) load() error {
	applied, known := uint64(0), false
	err := viewRow(m.db, keyApplied, func(b []byte) error {
		if len(b) != 8 {
			return fmt.Errorf("applied index has %d bytes", len(b))
		}
		applied, known = binary.BigEndian.Uint64(b), true
		return nil
	})
	if err == nil && !known { // so that even a new state has a row
		err = m.db.Set(keyApplied, make([]byte, 8), pebble.NoSync)
	}
	if err != nil {
		return err
	}
	x, err := loadIndex(m.db)
	if err != nil {
		return err
	}
	levels := levelsRow{Level: 1}
	if _, err := getRow(m.db, keyLevels, &levels); err != nil {
		return err
	}
	if levels.Level > Level { // it would overlook what newer fields say
		return fmt.Errorf("the cluster uses entries of level %d, and this version knows level %d: run the version that the other nodes run", levels.Level, Level)
	}
	m.index = x
	m.level.Store(int64(levels.Level))
	m.applied.Store(applied)
	return nil
}

// Apply applies entries in order and returns one Result each. Entries up to
// Applied are skipped: their results are long gone, and what is returned holds
// only the index. An error means that the node must stop: it wraps ErrCorrupt
// for an entry that this version cannot apply, or comes from the disk. The
// entries before it are applied, the ones after it are not.
func (m *Machine) Apply(entries ...Entry) ([]Result, error) {
	results := make([]Result, 0, len(entries))
	for _, e := range entries {
		r, err := m.apply(e)
		if err != nil {
			return results, fmt.Errorf("apply entry %d: %w", e.Index, err)
		}
		results = append(results, r)
	}
	return results, nil
}

func (m *Machine) apply(e Entry) (Result, error) {
	result := Result{Index: e.Index}
	if e.Index <= m.applied.Load() {
		return result, nil
	}
	if err := m.Err(); err != nil {
		return result, err
	}
	now, b, err := decodeEntry(e.Data)
	if err != nil {
		return result, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return result, ErrClosed
	}
	t := &tx{
		machine: m, batch: m.db.NewIndexedBatch(), index: e.Index, now: now,
		progress: map[string]*progressRow{},
	}
	result.Errors = b.apply(t)
	result.Parts = t.parts
	result.Outcomes = t.outcomes
	if err := t.finish(); err != nil {
		m.fail(err)
		return result, err
	}
	if t.level > 0 {
		m.level.Store(int64(t.level))
	}
	m.applied.Store(e.Index)
	return result, nil
}

// Applied returns the log index of the last entry that was applied.
func (m *Machine) Applied() uint64 { return m.applied.Load() }

// Err returns the first error of the disk, if there was one: the machine then
// applies nothing more, and what it returns of reads is not to be trusted.
func (m *Machine) Err() error {
	if err := m.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// fail remembers the first error of the disk, which may show up behind a read
// or in the background, where no caller waits for it.
func (m *Machine) fail(err error) {
	if err != nil && m.broken.CompareAndSwap(nil, &err) {
		close(m.stopped)
	}
}

// Flush makes what was applied survive a loss of power. It may run beside
// Apply.
func (m *Machine) Flush() error {
	m.mu.RLock()
	closed := m.closed
	if !closed {
		m.readers.Add(1)
		defer m.readers.Done()
	}
	m.mu.RUnlock()
	if closed {
		return ErrClosed
	}
	return m.flush()
}

func (m *Machine) flush() error {
	if err := m.Err(); err != nil {
		return err
	}
	flushed, err := m.db.AsyncFlush()
	if err != nil {
		m.fail(err)
		return fmt.Errorf("flush state: %w", err)
	}
	select {
	case <-flushed:
		return nil
	case <-m.stopped: // the store tries for ever; we do not wait for it
		return fmt.Errorf("flush state: %w", m.Err())
	}
}

// Close closes the store without a flush: what is not flushed comes back from
// the log. It waits for the reads and the Snapshots that are under way; those
// that come later find nothing.
func (m *Machine) Close() error {
	m.mu.Lock()
	again := m.closed
	m.closed = true
	m.mu.Unlock()
	if again {
		return nil
	}
	m.readers.Wait()
	if err := m.db.Close(); err != nil {
		return fmt.Errorf("close state: %w", err)
	}
	return nil
}

// LastTick returns the time in the last Tick, zero before the first.
func (m *Machine) LastTick() time.Time {
	var row tickRow
	m.read(keyTick, &row)
	return row.At
}

// silence is the store's logger: the state machine does not log.
type silence struct{}

func (silence) Infof(string, ...any)  {}
func (silence) Errorf(string, ...any) {}

// Fatalf must not return: the store calls it when its own files contradict
// each other, and would go on to damage them.
func (silence) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
