package install

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"redflag/agent/process"
	"redflag/api"
)

// Host is what installers may ask of the machine. The zero value of a field
// means the real thing.
type Host struct {
	// AgentID and DeviceType tell update modules where they run.
	AgentID    string
	DeviceType string
	// ModulesDir holds update modules, by name.
	ModulesDir string
	// Dpkg are arguments for every call of dpkg, such as --root=DIR.
	Dpkg []string
	// RebootCommand restarts the machine. It is systemctl reboot by default.
	RebootCommand []string
	// BootIDFile changes with each boot of the machine.
	BootIDFile string
	// DownWithin is how long the machine may take to go down.
	DownWithin time.Duration
	// RevertPause is how long to wait between two tries to go back.
	RevertPause time.Duration
	// Prove runs the agent's binary at path as an agent of this machine and
	// returns nil if a node has answered its poll.
	Prove func(ctx context.Context, path string) error
	// Polled waits until this process has polled a node.
	Polled func(ctx context.Context) error
	// Executable is the file that this process runs.
	Executable string
}

// DefaultModulesDir is where update modules are looked for.
const DefaultModulesDir = "/usr/lib/redflag/modules/v3"

const bootIDFile = "/proc/sys/kernel/random/boot_id"

// BootID names the current boot of the machine.
func (h *Host) BootID() (string, error) {
	path := h.BootIDFile
	if path == "" {
		path = bootIDFile
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// Reboot asks the machine to go down.
func (h *Host) Reboot(ctx context.Context) error {
	argv := h.RebootCommand
	if len(argv) == 0 {
		argv = []string{"systemctl", "reboot"}
	}
	return process.Run(ctx, process.Command{Argv: argv, Timeout: time.Minute, Out: io.Discard})
}

// GoesDownWithin is how long the machine may take to go down once it was asked.
func (h *Host) GoesDownWithin() time.Duration {
	if h.DownWithin > 0 {
		return h.DownWithin
	}
	return rebootWait
}

func (h *Host) pause() time.Duration {
	if h.RevertPause > 0 {
		return h.RevertPause
	}
	return revertPause
}

// proveWithin is how long a new binary may take to poll, unless the payload
// says otherwise.
const proveWithin = 2 * time.Minute

// prove waits until the new binary, which is this process now, has polled. A
// binary that keeps dying before that is given up.
func (e *Engine) prove(ctx context.Context, job *Job) error {
	sum, err := hashFile(e.Host.Executable)
	if err != nil {
		return e.back(job, err)
	}
	if sum != job.New.SHA256 {
		if job.Old == nil || sum == job.Old.SHA256 {
			job.Restart = RestartNone // the old binary runs: nothing has to start again
		}
		return e.back(job, errors.New("the new binary was not started"))
	}
	if job.Tries >= maxTries {
		return e.back(job, fmt.Errorf("the new binary did not poll in %d starts", job.Tries))
	}
	job.Tries++
	if err := e.save(job); err != nil {
		return err
	}
	within := time.Duration(job.how().CheckWithin)
	if within == 0 {
		within = proveWithin
	}
	wait, stop := context.WithTimeout(ctx, within)
	defer stop()
	err = e.Host.Polled(wait)
	if err != nil && held(ctx) {
		return context.Cause(ctx)
	}
	if err != nil {
		err = api.Failf(api.ErrorHealth, "the new binary has not polled within %s: %w", within, err)
	}
	return e.try(job, StageVerifying, err)
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
