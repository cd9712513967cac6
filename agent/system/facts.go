package system

import (
	"runtime"
	"strings"

	"redflag/api"
)

// maxText bounds one text of a fact, in bytes.
const maxText = 128

// Facts says what the machine's operating system is.
func (s *System) Facts() api.OSFacts {
	f := api.OSFacts{ID: runtime.GOOS, Arch: runtime.GOARCH, Kernel: s.kernel()}
	for _, path := range []string{"etc/os-release", "usr/lib/os-release"} {
		if text, ok := s.fact(path); ok {
			release := parseRelease(text)
			if id := release["ID"]; id != "" {
				f.ID = clip(id)
			}
			f.Version, f.Name = clip(release["VERSION_ID"]), clip(release["PRETTY_NAME"])
			break
		}
	}
	return f
}

func (s *System) kernel() string {
	text, _ := s.fact("proc/sys/kernel/osrelease")
	return clip(text)
}

// parseRelease reads the assignments of an os-release file, see os-release(5).
func parseRelease(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || strings.HasPrefix(key, "#") {
			continue
		}
		if q := value[:min(1, len(value))]; (q == `"` || q == "'") && len(value) >= 2 && strings.HasSuffix(value, q) {
			value = value[1 : len(value)-1]
			if q == `"` {
				value = unescape.Replace(value)
			}
		}
		out[key] = value
	}
	return out
}

var unescape = strings.NewReplacer(`\"`, `"`, `\$`, `$`, `\\`, `\`, "\\`", "`")

// clip returns the start of a text in printable characters.
func clip(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return s
}
