package p2p

import (
	"fmt"
	"io/fs"
	"syscall"
)

// fileIdentity tells a file from one that was put in its place, and a change
// of its content from none: unlike the modification time, the change time
// cannot be set back. Device numbers are left out: a reboot may change them.
func fileIdentity(st fs.FileInfo) string {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return "inode unknown"
	}
	return fmt.Sprintf("inode %d\nchanged %d.%09d", sys.Ino, sys.Ctim.Sec, sys.Ctim.Nsec)
}
