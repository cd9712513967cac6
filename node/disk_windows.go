package node

import "golang.org/x/sys/windows"

// diskSpace returns what this process may still write to the volume of dir,
// and its size, in bytes.
func diskSpace(dir string) (free, total int64, err error) {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	var avail, size, all uint64
	err = windows.GetDiskFreeSpaceEx(p, &avail, &size, &all)
	return int64(avail), int64(size), err
}
