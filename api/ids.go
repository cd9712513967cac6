package api

import (
	"strconv"
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

// TryID names a repeat of that command: the first try is 1 and has CommandID.
func TryID(rolloutID, agentID string, try int) string {
	if try <= 1 {
		return CommandID(rolloutID, agentID)
	}
	return CommandID(rolloutID, agentID) + ":" + strconv.Itoa(try)
}

// MaxTries bounds how often a command is repeated by itself.
const MaxTries = 20

// MaxCommandID bounds a command id in bytes.
const MaxCommandID = 2*MaxIDLength + 4

// SplitCommandID returns the rollout and the agent of a command of any try.
func SplitCommandID(id string) (rolloutID, agentID string, ok bool) {
	rolloutID, agentID, _, ok = SplitTryID(id)
	return rolloutID, agentID, ok
}

// SplitTryID is the inverse of TryID.
func SplitTryID(id string) (rolloutID, agentID string, try int, ok bool) {
	rolloutID, rest, ok := strings.Cut(id, ":")
	agentID, n, repeated := strings.Cut(rest, ":")
	try = 1
	if repeated {
		var err error
		try, err = strconv.Atoi(n)
		ok = ok && err == nil && try > 1 && TryID(rolloutID, agentID, try) == id
	}
	return rolloutID, agentID, try, ok && ValidID(rolloutID) && ValidID(agentID)
}
