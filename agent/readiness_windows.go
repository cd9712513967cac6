package agent

import (
	"golang.org/x/sys/windows"
)

// diskSpace returns the bytes that the agent may still write, and all of them.
func diskSpace(dir string) (free, total int64, ok bool) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, false
	}
	var mine, all, any uint64
	if windows.GetDiskFreeSpaceEx(path, &mine, &all, &any) != nil {
		return 0, 0, false
	}
	return int64(mine), int64(all), true
}
