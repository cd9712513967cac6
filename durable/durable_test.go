package durable

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteFileReplacesAndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	require.NoError(t, WriteFile(path, []byte("old"), 0o600))
	require.NoError(t, WriteFile(path, []byte("new"), 0o600))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "new", string(b))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())

	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder"), 0o755))
	require.Error(t, WriteFile(filepath.Join(dir, "folder"), []byte("x"), 0o600), "a folder is in the way")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "no temporary file stays")
}

func TestSymlinkSwitches(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "current")
	require.NoError(t, os.Symlink("left over by a crash", link+".new"))
	for _, target := range []string{"versions/1", "versions/2"} {
		require.NoError(t, Symlink(target, link))
		got, err := os.Readlink(link)
		require.NoError(t, err)
		require.Equal(t, target, got)
	}
}

func TestReadFileRefusesWhatIsTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, WriteSynced(path, 0o600, func(w io.Writer) error { _, err := io.WriteString(w, "1234"); return err }))
	b, err := ReadFile(path, 4)
	require.NoError(t, err)
	require.Equal(t, "1234", string(b))
	_, err = ReadFile(path, 3)
	require.ErrorContains(t, err, "larger than 3 bytes")
	require.ErrorIs(t, WriteSynced(path, 0o600, func(io.Writer) error { return io.ErrUnexpectedEOF }), io.ErrUnexpectedEOF)
}
