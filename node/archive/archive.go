package archive

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"redflag/api"
	"redflag/durable"
)

const (
	// segmentSize is when a new segment begins, in bytes.
	segmentSize = 4 << 20
	// maxLine bounds a record, in bytes.
	maxLine = 64 << 10
	// maxScan bounds how much one search reads, in bytes.
	maxScan = 32 << 20
	suffix  = ".jsonl"
)

// Record is a command at its place in the history.
type Record struct {
	Cursor  string      `json:"cursor"` // of the history, see state.EndedAfter
	Index   uint64      `json:"index"`  // log index of the end
	Command api.Command `json:"command"`
}

// Archive is the folder. It is safe for concurrent use.
type Archive struct {
	dir string

	mu       sync.Mutex
	segments []int          // in order; the last one is written
	firsts   map[int]uint64 // index of the first record, of segments that were looked at
	file     *os.File
	size     int64
	cursor   string
	index    uint64 // of the last record
}

// Open opens or creates the folder and cuts off what a crash tore.
func Open(dir string) (*Archive, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	a := &Archive{dir: dir, firsts: map[int]uint64{}}
	names, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	for _, name := range names {
		if n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), suffix)); err == nil && n > 0 {
			a.segments = append(a.segments, n)
		}
	}
	slices.Sort(a.segments)
	if len(a.segments) == 0 {
		a.segments = []int{1}
	}
	if err := a.recover(); err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return a, nil
}

func (a *Archive) path(segment int) string {
	return filepath.Join(a.dir, fmt.Sprintf("%08d%s", segment, suffix))
}

// recover finds the last whole line and goes on behind it.
func (a *Archive) recover() error {
	for i := len(a.segments) - 1; i >= 0 && a.cursor == ""; i-- {
		whole, err := readSegment(a.path(a.segments[i]), func(r *Record) { a.cursor, a.index = r.Cursor, r.Index })
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if i == len(a.segments)-1 {
			a.size = whole
		}
	}
	f, err := os.OpenFile(a.path(a.last()), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	a.file = f
	if err := f.Truncate(a.size); err != nil {
		return err
	}
	if _, err := f.Seek(a.size, io.SeekStart); err != nil {
		return err
	}
	return durable.SyncDir(a.dir)
}

func (a *Archive) last() int { return a.segments[len(a.segments)-1] }

// Cursor returns that of the last record, "" for none: where to go on.
func (a *Archive) Cursor() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cursor
}

// Append adds records, which are on disk when it returns, and drops the oldest
// segments until the archive is at most limit bytes.
func (a *Archive) Append(records []Record, limit int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var buf bytes.Buffer
	for i := range records {
		line, err := encode(&records[i])
		if err != nil {
			return fmt.Errorf("archive command: %w", err)
		}
		buf.Write(line)
	}
	if buf.Len() > 0 {
		// Not within the records of one log entry: a page ends between two.
		if a.size >= segmentSize && records[0].Index != a.index {
			if err := a.roll(); err != nil {
				return fmt.Errorf("archive commands: %w", err)
			}
		}
		if err := a.write(buf.Bytes()); err != nil {
			return fmt.Errorf("archive commands: %w", err)
		}
		last := &records[len(records)-1]
		a.cursor, a.index = last.Cursor, last.Index
	}
	return a.shrink(limit)
}

func (a *Archive) write(b []byte) error {
	n, err := a.file.Write(b)
	if err == nil {
		err = a.file.Sync()
	}
	if err != nil { // what got there is not known: go back to what was
		return errors.Join(err, a.file.Truncate(a.size), seek(a.file, a.size))
	}
	a.size += int64(n)
	return nil
}

func seek(f *os.File, to int64) error {
	_, err := f.Seek(to, io.SeekStart)
	return err
}

// roll begins a new segment.
func (a *Archive) roll() error {
	f, err := os.OpenFile(a.path(a.last()+1), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	old := a.file
	a.file, a.size = f, 0
	a.segments = append(a.segments, a.last()+1)
	return errors.Join(old.Close(), durable.SyncDir(a.dir))
}

// shrink drops the oldest segments, never the one that is written.
func (a *Archive) shrink(limit int64) error {
	sizes, sum := make([]int64, len(a.segments)), int64(0)
	for i, segment := range a.segments {
		if st, err := os.Stat(a.path(segment)); err == nil {
			sizes[i] = st.Size()
		}
		sum += sizes[i]
	}
	for len(a.segments) > 1 && sum > limit {
		sum, sizes = sum-sizes[0], sizes[1:]
		if err := os.Remove(a.path(a.segments[0])); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("shrink archive: %w", err)
		}
		delete(a.firsts, a.segments[0])
		a.segments = a.segments[1:]
	}
	return nil
}

// Close ends the writing.
func (a *Archive) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.file.Close()
}

// Find returns up to limit records before an index, 0 for the newest, that want
// picks, the newest first. It reads a bounded number of bytes: when more says
// true, go on before the index that it returns.
func (a *Archive) Find(before uint64, limit int, want func(*Record) bool) (found []Record, next uint64, more bool, err error) {
	a.mu.Lock()
	segments := slices.Clone(a.segments)
	a.mu.Unlock()
	next = before
	scanned := int64(0)
	for _, segment := range slices.Backward(segments) {
		if len(found) >= limit || scanned >= maxScan {
			return found, next, true, nil
		}
		if first, err := a.first(segment); err != nil {
			return found, next, false, err
		} else if before != 0 && first >= before {
			continue // an earlier page has had it
		}
		var here []Record
		least := uint64(0)
		n, err := readSegment(a.path(segment), func(r *Record) {
			if least == 0 {
				least = r.Index
			}
			if (before == 0 || r.Index < before) && want(r) {
				here = append(here, *r)
			}
		})
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return found, next, false, err
		}
		scanned += n
		slices.Reverse(here)
		// A page ends between two log entries, so that none is torn.
		for _, r := range here {
			if len(found) >= limit && r.Index != found[len(found)-1].Index {
				return found, found[len(found)-1].Index, true, nil
			}
			found = append(found, r)
		}
		if least > 0 && (next == 0 || least < next) {
			next = least
		}
	}
	return found, next, false, nil
}

// first returns the index of a segment's first record, 0 for none.
func (a *Archive) first(segment int) (uint64, error) {
	a.mu.Lock()
	index, known := a.firsts[segment]
	a.mu.Unlock()
	if known {
		return index, nil
	}
	f, err := os.Open(a.path(segment))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(f, maxLine).ReadSlice('\n')
	if err != nil {
		return 0, nil // what is torn is not there
	}
	r, ok := decode(line[:len(line)-1])
	if !ok {
		return 0, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.firsts[segment] = r.Index
	return r.Index, nil
}

// encode writes "checksum JSON\n". What an agent printed can grow sixfold in
// JSON: a record that it makes too long goes without.
func encode(r *Record) ([]byte, error) {
	b, err := json.Marshal(r)
	if err == nil && len(b) > maxLine-10 {
		short := *r
		short.Command.Log = nil
		b, err = json.Marshal(&short)
	}
	if err != nil {
		return nil, err
	}
	if len(b) > maxLine-10 {
		return nil, fmt.Errorf("a record of %d bytes is too long", len(b))
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(b), b), nil
}

// decode is the inverse of encode, without the newline.
func decode(line []byte) (*Record, bool) {
	if len(line) < 10 || line[8] != ' ' {
		return nil, false
	}
	sum, err := strconv.ParseUint(string(line[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.ChecksumIEEE(line[9:]) {
		return nil, false
	}
	r := &Record{}
	return r, json.Unmarshal(line[9:], r) == nil
}

// readSegment calls visit for every record up to the first line that is torn or
// damaged, and returns how many bytes are whole.
func readSegment(path string, visit func(*Record)) (whole int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return whole, nil // what is torn is not there
		}
		r, ok := decode(line[:len(line)-1])
		if !ok {
			return whole, nil
		}
		visit(r)
		whole += int64(len(line))
	}
}
