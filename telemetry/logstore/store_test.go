package logstore

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/telemetry"
)

func open(t *testing.T, path string) (*Store, func()) {
	t.Helper()
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop := func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, s.Close())
	}
	return s, stop
}

func line(i int, level, id string) []byte {
	at := time.Unix(1_800_000_000, int64(i)).UTC().Format(time.RFC3339Nano)
	return fmt.Appendf(nil, `{"@timestamp":%q,"@level":%q,"@message":"step %d of kiosk-17","correlation_id":%q}`, at, level, i, id)
}

func TestALineIsKeptOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	s, stop := open(t, path)
	id := api.NewCorrelationID()
	b := Batch{Source: "a1", Spool: "x", First: 1}
	for i := range 10 {
		b.Lines = append(b.Lines, line(i, "info", id))
	}
	require.NoError(t, s.Add(t.Context(), b))
	require.NoError(t, s.Add(t.Context(), b), "a repeat is welcome")
	overlap := Batch{Source: "a1", Spool: "x", First: 6, Lines: append(b.Lines[5:], line(10, "error", ""), []byte("no JSON"))}
	require.NoError(t, s.Add(t.Context(), overlap))
	other := b
	other.Spool = "y" // the disk of a1 was lost, and numbers begin anew
	require.NoError(t, s.Add(t.Context(), other))
	stop()
	s, stop = open(t, path)
	defer stop()
	require.NoError(t, s.Add(t.Context(), b), "also after a restart")

	find := func(q api.LogQuery) api.LogAnswer {
		got, err := s.Find(t.Context(), q)
		require.NoError(t, err)
		return got
	}
	require.Len(t, find(api.LogQuery{}).Lines, 22)
	require.Len(t, find(api.LogQuery{Correlation: id}).Lines, 20)
	require.Len(t, find(api.LogQuery{Level: "warn"}).Lines, 1)
	require.Len(t, find(api.LogQuery{Grep: "kiosk-17"}).Lines, 21)
	require.Len(t, find(api.LogQuery{Grep: "step 10"}).Lines, 1)
	require.Empty(t, find(api.LogQuery{Grep: `" OR 1=1 --`}).Lines)
	require.Empty(t, find(api.LogQuery{Source: "a2"}).Lines)

	seen := map[string]bool{}
	q := api.LogQuery{Limit: 3}
	for {
		page := find(q)
		for _, l := range page.Lines {
			key := fmt.Sprint(l.Source, l.Spool, l.Seq)
			require.False(t, seen[key], "page after page, no line twice")
			seen[key] = true
		}
		if !page.More {
			break
		}
		q.After = &page.Lines[len(page.Lines)-1]
	}
	require.Len(t, seen, 22)
}

func TestTrimKeepsWithinAgeAndSize(t *testing.T) {
	s, stop := open(t, filepath.Join(t.TempDir(), "logs.db"))
	defer stop()
	for first := 1; first <= 9000; first += 1000 {
		b := Batch{Source: "a1", Spool: "x", First: uint64(first)}
		for i := range 1000 {
			b.Lines = append(b.Lines, line(first+i, "info", ""))
		}
		require.NoError(t, s.Add(t.Context(), b))
	}
	full, err := s.Size(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Trim(t.Context(), time.Hour, full/2))
	half, err := s.Size(t.Context())
	require.NoError(t, err)
	require.LessOrEqual(t, half, full/2)
	left, err := s.Find(t.Context(), api.LogQuery{Limit: 1})
	require.NoError(t, err)
	require.Greater(t, left.Lines[0].Seq, uint64(1), "the oldest go first")
	require.NoError(t, s.Trim(t.Context(), -time.Hour, full))
	left, err = s.Find(t.Context(), api.LogQuery{})
	require.NoError(t, err)
	require.Empty(t, left.Lines)
}

// Whatever a line holds, it is kept as valid JSON.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"@timestamp":"2026-01-01T00:00:00Z","@level":"info","correlation_id":"x"}`))
	f.Add([]byte("\xff{"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p := parse(raw, time.Now())
		require.True(t, jsonValid(p.text), "%q", p.text)
		require.True(t, p.correlation == "" || api.ValidCorrelationID(p.correlation))
	})
}

func FuzzUnpackLines(f *testing.F) {
	packed, err := telemetry.PackLines([]byte("{}\n{}\n"))
	require.NoError(f, err)
	f.Add(packed)
	f.Add([]byte("no zstd"))
	f.Fuzz(func(t *testing.T, b []byte) {
		lines, err := telemetry.UnpackLines(b)
		if err == nil {
			for _, l := range lines {
				require.LessOrEqual(t, len(l), api.MaxLogLine)
			}
		}
	})
}

func jsonValid(s string) bool { return json.Valid([]byte(s)) }

func TestDamageIsTold(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs.db")
	require.NoError(t, os.WriteFile(path, bytes.Repeat([]byte("no store "), 1000), 0o600))
	_, err := Open(t.Context(), path)
	require.ErrorIs(t, err, ErrDamaged)
	stopping, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Open(stopping, filepath.Join(t.TempDir(), "logs.db"))
	require.Error(t, err)
	require.NotErrorIs(t, err, ErrDamaged, "a healthy one stays where it is")
}
