package telemetry

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// drain takes everything, in batches of limit bytes.
func drain(t *testing.T, s *Spool, limit int) (lines []string, first uint64) {
	t.Helper()
	for {
		b, from, err := s.Next(limit)
		require.NoError(t, err)
		if len(b) == 0 {
			return lines, first
		}
		if first == 0 {
			first = from
		}
		require.Equal(t, first+uint64(len(lines)), from)
		require.LessOrEqual(t, len(b), limit)
		for l := range bytes.Lines(b) {
			lines = append(lines, string(l))
		}
		require.NoError(t, s.Ack(first+uint64(len(lines))-1))
	}
}

func TestSpoolGoesOnWhereItWas(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenSpool(dir, 8<<20)
	require.NoError(t, err)
	id := s.ID()
	for i := range 5000 {
		_, err := fmt.Fprintf(s, "line %d with something to say about it, at some length, so that files fill up\n", i)
		require.NoError(t, err)
	}
	b, first, err := s.Next(1000)
	require.NoError(t, err)
	require.Equal(t, uint64(1), first)
	require.NoError(t, s.Ack(uint64(bytes.Count(b, []byte("\n")))))
	taken := bytes.Count(b, []byte("\n"))
	// A crash: nothing is closed, and half a line is at the end.
	s.mu.Lock()
	_, err = s.out.WriteString("half a li")
	s.mu.Unlock()
	require.NoError(t, err)

	again, err := OpenSpool(dir, 8<<20)
	require.NoError(t, err)
	require.Equal(t, id, again.ID())
	_, err = fmt.Fprintf(again, "after the crash\n")
	require.NoError(t, err)
	lines, first := drain(t, again, 10_000)
	require.Equal(t, uint64(taken+1), first)
	require.Len(t, lines, 5000-taken+1)
	require.Equal(t, "after the crash\n", lines[len(lines)-1])
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.LessOrEqual(t, len(left), 3, "what was taken is gone")
	third, err := OpenSpool(dir, 8<<20)
	require.NoError(t, err)
	require.Equal(t, uint64(5002), third.next, "numbers never come twice")
}

func TestSpoolStaysWithinItsLimit(t *testing.T) {
	dir := t.TempDir()
	s, err := OpenSpool(dir, 3*segmentSize)
	require.NoError(t, err)
	text := bytes.Repeat([]byte("x"), 1000)
	for range 3000 {
		_, err := s.Write(append(text, '\n'))
		require.NoError(t, err)
	}
	var size int64
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		size += info.Size()
	}
	require.LessOrEqual(t, size, int64(3*segmentSize+100))
	lines, first := drain(t, s, 100_000)
	require.Positive(t, s.Dropped())
	require.Equal(t, s.Dropped()+1, first, "the oldest went, and that shows")
	require.Equal(t, 3000, len(lines)+int(s.Dropped()))
}
