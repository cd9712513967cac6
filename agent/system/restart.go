package system

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"time"

	"redflag/agent/process"
)

const (
	// restartLife is how long the answer of needs-restarting is believed: it
	// looks at every process.
	restartLife = time.Hour
	restartTime = time.Minute
)

// RebootPending says whether the machine waits for a restart, nil where
// nothing on it would know.
func (s *System) RebootPending(ctx context.Context) *bool {
	if s.exists("run/reboot-required") || s.exists("var/run/reboot-required") {
		return new(true)
	}
	if program := s.program("needs-restarting"); program != "" {
		return s.restart.get(restartLife, func() *bool { return needsRestart(ctx, program) })
	}
	if s.exists("var/lib/dpkg/status") {
		return new(false)
	}
	return nil
}

// needsRestart asks dnf's needs-restarting, whose exit code is the answer.
func needsRestart(ctx context.Context, program string) *bool {
	err := process.Run(ctx, process.Command{Argv: []string{program, "--reboothint"}, Timeout: restartTime, Out: io.Discard})
	var exit *exec.ExitError
	switch {
	case err == nil:
		return new(false)
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return new(true)
	}
	return nil
}
