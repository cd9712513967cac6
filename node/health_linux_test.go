package node

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"redflag/api"
)

// A disk that really fills up, and is freed again.
func TestHealthSeesAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a file system of its own to fill")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256m"); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	r := startWith(t, func(c *Config) { c.DataDir = filepath.Join(dir, "node") })
	t.Cleanup(func() { // after the node: clean-ups run last in, first out
		r.stop()
		require.NoError(t, unix.Unmount(dir, 0))
	})
	r.set(map[api.SettingKey]string{api.SettingHealthDiskFree: "16MiB"})
	r.becomes("disk", api.StatusOK)
	filler := filepath.Join(dir, "filler")
	fill := func(leave int64) {
		free, _, err := diskSpace(dir)
		require.NoError(t, err)
		f, err := os.Create(filler)
		require.NoError(t, err)
		defer f.Close()
		block := make([]byte, 1<<20)
		for ; free > leave; free -= int64(len(block)) {
			_, err := f.Write(block)
			require.NoError(t, err)
		}
	}
	fill(40 << 20)
	r.becomes("disk", api.StatusWarn)
	require.NoError(t, os.Remove(filler))
	fill(8 << 20)
	r.becomes("disk", api.StatusCritical)
	require.False(t, r.node.health().Serving)
	require.NoError(t, os.Remove(filler))
	r.becomes("disk", api.StatusOK)
	require.True(t, r.node.health().Serving)
}
