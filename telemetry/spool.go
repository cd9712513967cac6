package telemetry

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"redflag/api"
	"redflag/durable"
)

// segmentSize is when a spool begins a new file, in bytes: the oldest file is
// what goes when the spool is full, and a file goes once all of it was sent.
const segmentSize = 256 << 10

const (
	segmentSuffix = ".log"
	spoolIDFile   = "id"
	ackedFile     = "acked"
)

// Spool keeps log lines on disk until somebody has taken them. Each line has a
// number; after a crash the numbers go on. When the spool is full the oldest
// lines go, so that a machine that is cut off for long fills no disk. It is
// safe for concurrent use.
type Spool struct {
	dir string
	id  string

	mu       sync.Mutex
	limit    int64
	segments []segment // in order; the last one is written to
	out      *os.File
	next     uint64 // number of the next line
	acked    uint64
	dropped  uint64
	written  chan struct{} // there is a new line

	acking sync.Mutex // taken without mu, for which everybody who logs waits
	stored uint64     // what the file of acked says
}

// segment is one file of lines.
type segment struct {
	first uint64 // number of its first line
	lines uint64
	size  int64
}

// OpenSpool opens the spool in a folder, which it creates if need be. limit
// bounds the files, in bytes.
func OpenSpool(dir string, limit int64) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make log spool: %w", err)
	}
	s := &Spool{dir: dir, limit: limit, next: 1, written: make(chan struct{}, 1)}
	if err := errors.Join(s.loadID(), s.loadSegments()); err != nil {
		return nil, fmt.Errorf("open log spool: %w", err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, ackedFile)); err == nil {
		s.acked, _ = strconv.ParseUint(string(b), 10, 64)
	}
	s.next = max(s.next, s.acked+1)
	return s, s.rotate()
}

// loadID draws the name of this life of the spool: numbers begin anew when the
// folder was lost, and must not be taken for the old ones.
func (s *Spool) loadID() error {
	path := filepath.Join(s.dir, spoolIDFile)
	b, err := os.ReadFile(path)
	if err == nil && len(b) == 16 {
		s.id = string(b)
		return nil
	}
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // crypto/rand never fails; it aborts the program
	s.id = hex.EncodeToString(raw[:])
	return durable.WriteFile(path, []byte(s.id), 0o600)
}

func (s *Spool) loadSegments() error {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		first, err := strconv.ParseUint(name, 16, 64)
		if !ok || err != nil {
			continue
		}
		b, err := os.ReadFile(s.path(first))
		if err != nil {
			return err
		}
		seg := segment{first: first, lines: uint64(bytes.Count(b, []byte("\n"))), size: int64(len(b))}
		if seg.lines == 0 { // nothing, or half a line: its number is free
			continue
		}
		s.segments = append(s.segments, seg)
		s.next = max(s.next, first+seg.lines)
	}
	slices.SortFunc(s.segments, func(a, b segment) int { return int(int64(a.first) - int64(b.first)) })
	return nil
}

func (s *Spool) path(first uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%016x%s", first, segmentSuffix))
}

// ID names this life of the spool.
func (s *Spool) ID() string { return s.id }

// Written yields when there may be a new line.
func (s *Spool) Written() <-chan struct{} { return s.written }

// SetLimit changes how many bytes the spool may take.
func (s *Spool) SetLimit(limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
}

// Dropped counts the lines that had to go before anybody took them.
func (s *Spool) Dropped() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dropped
}

// Write implements io.Writer for a logger that writes whole lines. It never
// fails the caller: a line that the disk refuses counts as dropped.
func (s *Spool) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range bytes.Lines(p) {
		s.append(line)
	}
	select {
	case s.written <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (s *Spool) append(line []byte) {
	if !bytes.HasSuffix(line, []byte("\n")) {
		line = append(slices.Clone(line), '\n')
	}
	last := &s.segments[len(s.segments)-1]
	if last.size > 0 && last.size+int64(len(line)) > segmentSize {
		if err := s.rotate(); err != nil {
			s.dropped++
			return
		}
		last = &s.segments[len(s.segments)-1]
	}
	if len(line) > api.MaxLogLine {
		s.dropped++
		return
	}
	n, err := s.out.Write(line)
	if err != nil { // half a line would be counted as none, or join the next one
		_ = s.out.Truncate(last.size)
		_, _ = s.out.Seek(last.size, 0)
		s.dropped++
		return
	}
	last.size += int64(n)
	last.lines++
	s.next++
}

// rotate begins a new file, and makes room for it.
func (s *Spool) rotate() error {
	if s.out != nil {
		_ = s.out.Close()
	}
	total := int64(segmentSize)
	for _, seg := range s.segments {
		total += seg.size
	}
	for len(s.segments) > 0 && total > s.limit {
		old := s.segments[0]
		if end := old.first + old.lines; end > s.acked+1 {
			s.dropped += end - max(old.first, s.acked+1)
		}
		_ = os.Remove(s.path(old.first))
		total -= old.size
		s.segments = s.segments[1:]
	}
	f, err := os.OpenFile(s.path(s.next), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("begin log segment: %w", err)
	}
	s.out = f
	s.segments = append(s.segments, segment{first: s.next})
	return nil
}

// Next returns the oldest lines that nobody has taken, whole ones, at most
// limit bytes, and the number of the first one. No lines means that all were
// taken.
func (s *Spool) Next(limit int) (lines []byte, first uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seg := range s.segments {
		from := max(seg.first, s.acked+1)
		if from >= seg.first+seg.lines {
			continue
		}
		b, err := os.ReadFile(s.path(seg.first))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, 0, fmt.Errorf("read log segment: %w", err)
		}
		for range from - seg.first {
			_, b, _ = bytes.Cut(b, []byte("\n"))
		}
		if len(b) > limit {
			b = b[:bytes.LastIndexByte(b[:limit], '\n')+1]
		}
		b = b[:bytes.LastIndexByte(b, '\n')+1] // half a line after a crash
		return b, from, nil
	}
	return nil, 0, nil
}

// Ack says that all lines up to a number were taken.
func (s *Spool) Ack(seq uint64) error {
	if !s.take(seq) {
		return nil
	}
	s.acking.Lock()
	defer s.acking.Unlock()
	if seq <= s.stored {
		return nil
	}
	s.stored = seq
	return durable.WriteFile(filepath.Join(s.dir, ackedFile), []byte(strconv.FormatUint(seq, 10)), 0o600)
}

// take forgets lines that were taken, and reports whether that is news.
func (s *Spool) take(seq uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq <= s.acked || seq >= s.next {
		return false
	}
	s.acked = seq
	for len(s.segments) > 1 && s.segments[0].first+s.segments[0].lines <= seq+1 {
		_ = os.Remove(s.path(s.segments[0].first))
		s.segments = s.segments[1:]
	}
	return true
}

// Close closes the file that is written to. Lines that come later are dropped.
func (s *Spool) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Close()
}
