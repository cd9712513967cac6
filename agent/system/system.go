// Package system looks at the machine: whether it can be worked on now, what
// it is, and which of its operating system's packages are outdated.
//
// It owns the parsers of what the system and its tools say, each with a bound
// on its input. Looking never changes anything and never waits for a lock; the
// one thing that changes something is Upgrade. It must never know a command or
// a node.
package system

import (
	"os"
	"path/filepath"
	"strings"

	"redflag/durable"
)

// maxFact bounds a file that is read for one fact, in bytes.
const maxFact = 64 << 10

// System is the machine below Root: "" is the real one, a folder is one that a
// test has laid out.
type System struct {
	Root string
	// Apt, Dpkg and Dnf are arguments that come before all others, for a root of
	// their own.
	Apt, Dpkg, Dnf []string
	// Metered overrides what the machine says of its link; nil asks it.
	Metered *bool

	metered, restart cached
}

func (s *System) path(elem ...string) string {
	return filepath.Join(append([]string{"/", s.Root}, elem...)...)
}

func (s *System) exists(path string) bool {
	_, err := os.Stat(s.path(path))
	return err == nil
}

// fact returns a small file's text without the blanks around it.
func (s *System) fact(path string) (string, bool) {
	b, err := durable.ReadFile(s.path(path), maxFact)
	return strings.TrimSpace(string(b)), err == nil
}

// program returns the path of a system's program, "" where there is none.
func (s *System) program(name string) string {
	for _, dir := range []string{"/usr/bin", "/usr/sbin", "/bin", "/sbin"} {
		if s.exists(filepath.Join(dir, name)) {
			return s.path(dir, name)
		}
	}
	return ""
}
