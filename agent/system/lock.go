package system

import (
	"path/filepath"
	"slices"
	"strconv"
)

// aptLocks are held by dpkg and apt while they change something, rpmLocks by
// rpm. dnf writes its process id into a file.
var (
	aptLocks = []string{"var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/apt/lists/lock", "var/cache/apt/archives/lock"}
	rpmLocks = []string{"usr/lib/sysimage/rpm/.rpm.lock", "var/lib/rpm/.rpm.lock"}
	dnfPIDs  = []string{"var/cache/dnf/*_lock.pid", "var/lib/dnf/*_lock.pid", "run/dnf/*_lock.pid"}
)

// PackageLocked says whether another program holds the lock of a package
// manager. It only asks, and takes none. It is nil where there is none to ask.
func (s *System) PackageLocked() *bool {
	var known *bool
	for _, path := range slices.Concat(aptLocks, rpmLocks) {
		held, ok := lockHeld(s.path(path))
		if held {
			return new(true)
		}
		if ok {
			known = new(false)
		}
	}
	for _, pattern := range dnfPIDs {
		files, err := filepath.Glob(s.path(pattern))
		if err != nil {
			continue
		}
		for _, f := range files {
			rel, err := filepath.Rel(s.path(), f)
			if err != nil {
				continue
			}
			text, _ := s.fact(rel)
			pid, err := strconv.Atoi(text)
			if err == nil && pid > 0 && s.exists("proc/"+strconv.Itoa(pid)) {
				return new(true)
			}
		}
	}
	return known
}
