package archive

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func record(n int) Record {
	return Record{
		Cursor: fmt.Sprintf("c%06d", n), Index: uint64(n),
		Command: api.Command{ID: fmt.Sprintf("r%d:a%d", n, n%3), AgentID: fmt.Sprintf("a%d", n%3), State: api.StateSucceeded},
	}
}

func open(t *testing.T, dir string) *Archive {
	t.Helper()
	a, err := Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = a.Close() })
	return a
}

func all(*Record) bool { return true }

// pages walks the whole archive in pages of n.
func pages(t *testing.T, a *Archive, n int, want func(*Record) bool) (indexes []uint64) {
	t.Helper()
	before := uint64(0)
	for {
		found, next, more, err := a.Find(before, n, want)
		require.NoError(t, err)
		for _, r := range found {
			indexes = append(indexes, r.Index)
		}
		if !more {
			return indexes
		}
		require.NotEqual(t, before, next)
		before = next
	}
}

func TestAppendAndFind(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	require.Empty(t, a.Cursor())
	for i := 1; i <= 10; i++ {
		require.NoError(t, a.Append([]Record{record(i)}, 1<<30))
	}
	require.Equal(t, []uint64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}, pages(t, a, 3, all))
	require.Equal(t, []uint64{9, 6, 3}, pages(t, a, 2, func(r *Record) bool { return r.Command.AgentID == "a0" }))
	require.NoError(t, a.Close())
	a = open(t, dir)
	require.Equal(t, "c000010", a.Cursor(), "it goes on where it was")
}

// A crash tears the last line; what came before it stays, and writing goes on.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	require.NoError(t, a.Append([]Record{record(1), record(2)}, 1<<30))
	require.NoError(t, a.Close())
	path := filepath.Join(dir, "00000001.jsonl")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	first := strings.IndexByte(string(whole), '\n') + 1
	for cut := first; cut < len(whole); cut += 29 {
		require.NoError(t, os.WriteFile(path, whole[:cut], 0o600))
		a := open(t, dir)
		require.Equal(t, "c000001", a.Cursor())
		require.NoError(t, a.Append([]Record{record(3)}, 1<<30))
		require.Equal(t, []uint64{3, 1}, pages(t, a, 10, all))
		require.NoError(t, a.Close())
	}
	damaged := []byte(string(whole))
	damaged[first+20] ^= 1
	require.NoError(t, os.WriteFile(path, damaged, 0o600))
	require.Equal(t, "c000001", open(t, dir).Cursor())
}

func TestTheArchiveIsBounded(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	big := record(0)
	big.Command.CancelRefused = strings.Repeat("x", 50<<10)
	const limit = 3 * segmentSize
	for i := 0; i < 600; i += 20 { // 30 MB
		var batch []Record
		for n := i + 1; n <= i+20; n++ {
			big.Index, big.Cursor = uint64(n), record(n).Cursor
			batch = append(batch, big)
		}
		require.NoError(t, a.Append(batch, limit))
	}
	var size int64
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	for _, name := range names {
		info, err := os.Stat(name)
		require.NoError(t, err)
		size += info.Size()
	}
	require.LessOrEqual(t, size, int64(limit)+20*maxLine)
	got := pages(t, a, 7, all)
	require.Equal(t, uint64(600), got[0])
	require.Greater(t, got[len(got)-1], uint64(300), "the oldest are gone")
	for i := 1; i < len(got); i++ {
		require.Equal(t, got[i-1]-1, got[i])
	}
	require.NoError(t, a.Close())
	require.Equal(t, "c000600", open(t, dir).Cursor())
}

// A page goes on behind more than one search reads, and finds an end where there
// is nothing; the commands of one log entry are on one page.
func TestPagesBehindWhatOneSearchReads(t *testing.T) {
	a := open(t, t.TempDir())
	big := record(0)
	big.Command.CancelRefused = strings.Repeat("x", 60<<10)
	const groups, each = 100, 9 // 54 MB, in segments that end within a group
	for i := 1; i <= groups; i++ {
		var batch []Record
		for n := range each {
			big.Index, big.Cursor = uint64(i), fmt.Sprintf("c%06d-%d", i, n)
			big.Command.ID = fmt.Sprintf("r%d:a%d", i, n)
			batch = append(batch, big)
		}
		require.NoError(t, a.Append(batch[:each/2], 1<<30))
		require.NoError(t, a.Append(batch[each/2:], 1<<30))
	}
	got := pages(t, a, 4, all)
	require.Len(t, got, groups*each)
	require.Equal(t, []uint64{1}, pages(t, a, 1, func(r *Record) bool { return r.Command.ID == "r1:a0" }))
	require.Empty(t, pages(t, a, 1, func(r *Record) bool { return r.Command.ID == "r0:a0" }))
}

// What an agent printed can be too long for a record once it is JSON.
func TestARecordThatIsTooLongGoesWithoutItsLog(t *testing.T) {
	a := open(t, t.TempDir())
	r := record(1)
	noise := strings.Repeat("\x01", 4096)
	r.Command.Failure = &api.Failure{Class: api.ErrorInstall, Message: noise}
	r.Command.Log = &api.ExecutionLog{Stdout: noise, Stderr: noise}
	require.NoError(t, a.Append([]Record{r}, 1<<30))
	found, _, _, err := a.Find(0, 1, all)
	require.NoError(t, err)
	require.Equal(t, noise, found[0].Command.Failure.Message)
	require.Nil(t, found[0].Command.Log)
	require.NotNil(t, r.Command.Log)
}

func FuzzDecode(f *testing.F) {
	r := record(1)
	line, err := encode(&r)
	require.NoError(f, err)
	f.Add(line[:len(line)-1])
	f.Fuzz(func(t *testing.T, line []byte) {
		if r, ok := decode(line); ok {
			_, err := encode(r)
			if len(line) < maxLine/8 {
				require.NoError(t, err)
			}
		}
	})
}
