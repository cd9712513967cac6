package logstore

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite" // the driver; it needs no C
	sqlite3 "modernc.org/sqlite/lib"

	"redflag/api"
)

const (
	// queueLength is how many batches wait for the disk before a source is told
	// to come back.
	queueLength = 256
	// groupSize is how many batches one transaction takes.
	groupSize = 64
)

const schema = `
CREATE TABLE IF NOT EXISTS spools (source TEXT, spool TEXT, seq INTEGER, PRIMARY KEY (source, spool)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS lines (
  id INTEGER PRIMARY KEY, at INTEGER, got INTEGER, source TEXT, spool TEXT, seq INTEGER,
  level INTEGER, correlation TEXT, line TEXT);
CREATE INDEX IF NOT EXISTS lines_at ON lines (at, source, spool, seq);
CREATE INDEX IF NOT EXISTS lines_source ON lines (source, at);
CREATE INDEX IF NOT EXISTS lines_correlation ON lines (correlation, at) WHERE correlation <> '';
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (line, content='lines', content_rowid='id');
CREATE TRIGGER IF NOT EXISTS lines_gone AFTER DELETE ON lines BEGIN
  INSERT INTO words (words, rowid, line) VALUES ('delete', old.id, old.line);
END;`

// Batch is lines of one source with consecutive numbers.
type Batch struct {
	Source string
	Spool  string
	First  uint64 // number of the first line
	Lines  [][]byte
}

// last returns the number of the last line.
func (b *Batch) last() uint64 { return b.First + uint64(len(b.Lines)) - 1 }

// Store is safe for concurrent use.
type Store struct {
	db    *sql.DB
	queue chan request
	done  chan struct{}
	close sync.Once

	mu  sync.Mutex
	err error // of the last write
}

type request struct {
	batch  Batch
	answer chan error
}

// ErrDamaged says that a file is not a store, or is one no more.
var ErrDamaged = errors.New("log store is damaged")

// Open opens the store in a file, which it creates if need be. It returns an
// ErrDamaged error for a file that no repeat would open.
func Open(ctx context.Context, path string) (*Store, error) {
	// A writer takes the lock when it begins: one that read first and finds that
	// another has written meanwhile would fail, however patient it is.
	q := url.Values{"_txlock": {"immediate"}, "_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)", "cache_size(-4096)", "auto_vacuum(INCREMENTAL)"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open log store: %w", err)
	}
	db.SetMaxOpenConns(4)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		if broken := (*sqlite.Error)(nil); errors.As(err, &broken) {
			if code := broken.Code() & 0xff; code == sqlite3.SQLITE_CORRUPT || code == sqlite3.SQLITE_NOTADB {
				err = fmt.Errorf("%w: %w", ErrDamaged, err)
			}
		}
		return nil, errors.Join(fmt.Errorf("open log store: %w", err), db.Close())
	}
	s := &Store{db: db, queue: make(chan request, queueLength), done: make(chan struct{})}
	return s, nil
}

// Run writes until ctx ends.
func (s *Store) Run(ctx context.Context) error {
	defer close(s.done)
	for {
		select {
		case <-ctx.Done():
			return nil
		case first := <-s.queue:
			s.write(context.WithoutCancel(ctx), s.group(first)) // who waits is answered
		}
	}
}

// group takes what waits already: a transaction costs the disk the same for
// one batch and for many.
func (s *Store) group(first request) []request {
	group := []request{first}
	for len(group) < groupSize {
		select {
		case r := <-s.queue:
			group = append(group, r)
		default:
			return group
		}
	}
	return group
}

// Add keeps a batch and returns once it is on disk. Lines that are kept
// already are left out. When the disk is behind it returns CodeRateLimited.
func (s *Store) Add(ctx context.Context, b Batch) error {
	if len(b.Lines) == 0 {
		return nil
	}
	r := request{batch: b, answer: make(chan error, 1)}
	select {
	case s.queue <- r:
	default:
		return api.Errorf(api.CodeRateLimited, "the log store is behind").WithHint("send the batch again later")
	}
	select {
	case err := <-r.answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return api.Errorf(api.CodeUnavailable, "the log store is closed")
	}
}

func (s *Store) write(ctx context.Context, group []request) {
	err := s.insert(ctx, group)
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	for _, r := range group {
		r.answer <- err
	}
}

// Err returns the error of the last write.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *Store) insert(ctx context.Context, group []request) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("keep log lines: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	line, err := tx.PrepareContext(ctx, `INSERT INTO lines (at, got, source, spool, seq, level, correlation, line) VALUES (?,?,?,?,?,?,?,?)`)
	if err != nil {
		return fmt.Errorf("keep log lines: %w", err)
	}
	defer func() { _ = line.Close() }()
	words, err := tx.PrepareContext(ctx, `INSERT INTO words (rowid, line) VALUES (?,?)`)
	if err != nil {
		return fmt.Errorf("keep log lines: %w", err)
	}
	defer func() { _ = words.Close() }()
	for _, r := range group {
		if err := insertBatch(ctx, tx, line, words, &r.batch); err != nil {
			return fmt.Errorf("keep log lines: %w", err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("keep log lines: %w", err)
	}
	return nil
}

func insertBatch(ctx context.Context, tx *sql.Tx, line, words *sql.Stmt, b *Batch) error {
	var newest uint64
	err := tx.QueryRowContext(ctx, `SELECT seq FROM spools WHERE source = ? AND spool = ?`, b.Source, b.Spool).Scan(&newest)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	now := time.Now()
	for i, raw := range b.Lines {
		seq := b.First + uint64(i)
		if seq <= newest {
			continue
		}
		p := parse(raw, now)
		res, err := line.ExecContext(ctx, p.at.UnixNano(), now.UnixNano(), b.Source, b.Spool, seq, p.level, p.correlation, p.text)
		if err != nil {
			return err
		}
		id, err := res.LastInsertId()
		if err != nil {
			return err
		}
		if _, err := words.ExecContext(ctx, id, p.text); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO spools VALUES (?,?,?) ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq)`, b.Source, b.Spool, b.last())
	return err
}

// parsed is what the store looks at in a line.
type parsed struct {
	at          time.Time
	level       int
	correlation string
	text        string
}

var levels = map[string]int{"trace": 1, "debug": 2, "info": 3, "warn": 4, "error": 5}

// IsLevel reports whether lines can be asked for by a level.
func IsLevel(name string) bool { return levels[name] > 0 }

// parse reads a line of hclog's JSON. What is none is kept all the same, as
// text that came at this moment.
func parse(raw []byte, now time.Time) parsed {
	var l struct {
		At          time.Time `json:"@timestamp"`
		Level       string    `json:"@level"`
		Correlation string    `json:"correlation_id"`
	}
	if json.Unmarshal(raw, &l) != nil || !json.Valid(raw) {
		quoted, _ := json.Marshal(map[string]string{"@message": strings.ToValidUTF8(string(raw), "")})
		return parsed{at: now, level: levels["info"], text: string(quoted)}
	}
	if l.At.IsZero() || l.At.Year() < 2000 || l.At.Year() > 2200 {
		l.At = now
	}
	if !api.ValidCorrelationID(l.Correlation) {
		l.Correlation = ""
	}
	return parsed{at: l.At, level: levels[l.Level], correlation: l.Correlation, text: strings.ToValidUTF8(string(raw), "")}
}

// Close closes the file. Run must have ended.
func (s *Store) Close() error {
	var err error
	s.close.Do(func() { err = s.db.Close() })
	return err
}
