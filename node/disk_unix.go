//go:build !windows

package node

import "golang.org/x/sys/unix"

// diskSpace returns what an unprivileged process may still write to the file
// system of dir, and its size, in bytes.
func diskSpace(dir string) (free, total int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize), int64(st.Blocks) * int64(st.Bsize), nil //nolint:unconvert // the field is smaller elsewhere
}
