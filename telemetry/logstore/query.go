package logstore

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"redflag/api"
)

// MaxPage bounds a page, in lines; answerSize bounds it in bytes.
const (
	MaxPage     = 2000
	defaultPage = 500
	answerSize  = 2 << 20
)

// Find returns a page of the lines that match, in order of time.
func (s *Store) Find(ctx context.Context, q api.LogQuery) (api.LogAnswer, error) {
	limit := q.Limit
	if limit < 1 || limit > MaxPage {
		limit = defaultPage
	}
	where, args := conditions(q)
	query := `SELECT at, source, spool, seq, line FROM lines WHERE ` + where + ` ORDER BY at, source, spool, seq LIMIT ?` //nolint:gosec // conditions holds no text of the caller
	rows, err := s.db.QueryContext(ctx, query, append(args, limit+1)...)
	if err != nil {
		return api.LogAnswer{}, fmt.Errorf("find log lines: %w", err)
	}
	defer func() { _ = rows.Close() }()
	answer := api.LogAnswer{Lines: []api.LogLine{}}
	size := 0
	for rows.Next() {
		var l api.LogLine
		var at int64
		var text string
		if err := rows.Scan(&at, &l.Source, &l.Spool, &l.Seq, &text); err != nil {
			return answer, fmt.Errorf("find log lines: %w", err)
		}
		if len(answer.Lines) == limit || size+len(text) > answerSize {
			answer.More = true
			break
		}
		l.At, l.Line = time.Unix(0, at).UTC(), json.RawMessage(text)
		size += len(text)
		answer.Lines = append(answer.Lines, l)
	}
	return answer, rows.Err()
}

// conditions turns a query into SQL; what the caller wrote is in args alone.
func conditions(q api.LogQuery) (where string, args []any) {
	terms := []string{"1"}
	add := func(term string, values ...any) {
		terms = append(terms, term)
		args = append(args, values...)
	}
	if q.Correlation != "" {
		add("correlation = ?", q.Correlation)
	}
	if q.Source != "" {
		add("source = ?", q.Source)
	}
	if !q.Since.IsZero() {
		add("at >= ?", q.Since.UnixNano())
	}
	if !q.Until.IsZero() {
		add("at < ?", q.Until.UnixNano())
	}
	if level := levels[q.Level]; level > 0 {
		add("level >= ?", level)
	}
	if q.Grep != "" {
		phrase := `"` + strings.ReplaceAll(q.Grep, `"`, `""`) + `"`
		add("id IN (SELECT rowid FROM words WHERE words MATCH ?)", phrase)
	}
	if a := q.After; a != nil {
		add("(at, source, spool, seq) > (?,?,?,?)", a.At.UnixNano(), a.Source, a.Spool, a.Seq)
	}
	return strings.Join(terms, " AND "), args
}

// Trim removes lines that came longer ago than age, and the oldest ones while
// the file is larger than size. It takes small steps, so that writers need not
// wait for it.
func (s *Store) Trim(ctx context.Context, age time.Duration, size int64) error {
	const step = 2000
	cutoff := time.Now().Add(-age).UnixNano()
	for {
		used, err := s.Size(ctx)
		if err != nil {
			return err
		}
		before := cutoff
		if used > size {
			before = math.MaxInt64
		}
		// Lines are in the order in which they came: no more than a step is read. Those
		// of a clock that ran ahead would stand before the others for as long.
		res, err := s.db.ExecContext(ctx, `DELETE FROM lines WHERE id IN (SELECT id FROM (SELECT id, got FROM lines ORDER BY id LIMIT ?) WHERE got < ? OR got > ?)`, step, before, time.Now().Add(time.Hour).UnixNano())
		if err != nil {
			return fmt.Errorf("trim log store: %w", err)
		}
		gone, err := res.RowsAffected()
		if err != nil {
			return fmt.Errorf("trim log store: %w", err)
		}
		if _, err := s.db.ExecContext(ctx, `PRAGMA incremental_vacuum(1000)`); err != nil {
			return fmt.Errorf("trim log store: %w", err)
		}
		if gone == 0 || (gone < step && used <= size) {
			return nil
		}
	}
}

// Size returns the bytes that the lines take, without free pages.
func (s *Store) Size(ctx context.Context) (int64, error) {
	var pages, free, page int64
	err := s.db.QueryRowContext(ctx, `SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size`).Scan(&pages, &free, &page)
	if err != nil {
		return 0, fmt.Errorf("size of log store: %w", err)
	}
	return (pages - free) * page, nil
}
