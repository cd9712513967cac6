package api

import "strings"

// ExecutionLog is what carrying out a command left behind.
type ExecutionLog struct {
	// ExitCode is that of the last program that ran, if one did.
	ExitCode *int `json:"exit_code,omitempty" cbor:"1,keyasint,omitempty"`
	// Stdout and Stderr are the ends of what programs wrote.
	Stdout string `json:"stdout,omitempty" cbor:"2,keyasint,omitempty"`
	Stderr string `json:"stderr,omitempty" cbor:"3,keyasint,omitempty"`
	// Cut says that earlier output was dropped.
	Cut   bool   `json:"cut,omitempty" cbor:"4,keyasint,omitempty"`
	Steps []Step `json:"steps,omitempty" cbor:"5,keyasint,omitempty"`
}

// Step is one part of carrying out a command, and how long it took.
type Step struct {
	Name   string `json:"name" cbor:"1,keyasint"`
	Millis int64  `json:"millis" cbor:"2,keyasint"`
}

// Bounds of an execution log, in bytes and in steps. What succeeded is kept
// short: there are many of them, and few are read.
const (
	MaxOutput        = 4 << 10
	MaxOutputSuccess = 256
	MaxSteps         = 16
	maxStepName      = 32
)

// Trim returns l within its bounds: the ends of the output, the first steps.
func (l *ExecutionLog) Trim(succeeded bool) *ExecutionLog {
	if l == nil {
		return nil
	}
	limit := MaxOutput
	if succeeded {
		limit = MaxOutputSuccess
	}
	out := *l
	out.Stdout, out.Stderr = tail(l.Stdout, limit), tail(l.Stderr, limit)
	out.Cut = l.Cut || len(out.Stdout) < len(l.Stdout) || len(out.Stderr) < len(l.Stderr)
	out.Steps = nil
	for _, s := range l.Steps[:min(len(l.Steps), MaxSteps)] {
		s.Name = strings.ToValidUTF8(s.Name[:min(len(s.Name), maxStepName)], "")
		s.Millis = max(0, s.Millis)
		out.Steps = append(out.Steps, s)
	}
	return &out
}

// tail returns at most the last limit bytes of s, never half a character.
func tail(s string, limit int) string {
	if len(s) > limit {
		s = s[len(s)-limit:]
	}
	return strings.ToValidUTF8(s, "")
}
