package api

import (
	"strings"
)

// MaxIDLength bounds every id and name that an operator or a machine chooses,
// in bytes.
const MaxIDLength = 128

// ValidID reports whether s can name an agent, a node, an artifact or a
// version: 1 to MaxIDLength bytes of letters, digits, '.', '_', '+' and '-',
// not starting with '.' or '-'. Such a name is safe in a path and in a URL.
func ValidID(s string) bool {
	if s == "" || len(s) > MaxIDLength || s[0] == '.' || s[0] == '-' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == '+', c == '-':
		default:
			return false
		}
	}
	return true
}

// CheckID returns a CodeInvalid error that names what when s is no ValidID.
func CheckID(what, s string) error {
	if ValidID(s) {
		return nil
	}
	if len(s) > MaxIDLength {
		s = s[:MaxIDLength] + "…"
	}
	return Errorf(CodeInvalid, "%s %q is not a valid name", what, s).
		WithHint("use 1 to %d letters, digits, '.', '_', '+' or '-', starting with a letter or digit", MaxIDLength)
}

// CommandID names one agent's share of a rollout. Rollouts are not
// materialised, so the id is derived and not drawn.
func CommandID(rolloutID, agentID string) string { return rolloutID + ":" + agentID }

// SplitCommandID is the inverse of CommandID.
func SplitCommandID(id string) (rolloutID, agentID string, ok bool) {
	rolloutID, agentID, ok = strings.Cut(id, ":")
	return rolloutID, agentID, ok && ValidID(rolloutID) && ValidID(agentID)
}
