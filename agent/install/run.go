package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"redflag/agent/process"
	"redflag/api"
	"redflag/durable"
)

const (
	// stepRun is the program of a bundle that can be run without being installed.
	stepRun = "run"
	// dirRun is where a bundle is unpacked to be run; a crash leaves it to the next.
	dirRun = "running"
	// fileRan names the newest version that was run.
	fileRan = "ran"
)

// RunScripts runs the program "run" of the bundle of scripts r, which fill writes and
// which it fails to write unless it is the signed one. begin is called right before:
// the program runs only if it returns nil. Nothing is installed.
func (e *Engine) RunScripts(ctx context.Context, r Record, fill func(io.Writer) error, begin func() error, out io.Writer) error {
	dir := e.Store.Path(r.Name, dirRun)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clear the folder to run in: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder to run in: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // the next run removes it
	job := &Job{Progress: Progress{New: r}, Fill: fill}
	if err := unpack(job, dir, dir); err != nil {
		return err
	}
	program := filepath.Join(dir, stepRun)
	if _, err := os.Stat(program); err != nil {
		return api.Failf(api.ErrorVerify, "the bundle %s %s has no program called run", r.Name, r.Version)
	}
	if err := begin(); err != nil {
		return err
	}
	return runStep(ctx, e.Store, job, program, out)
}

// Ran returns the newest version of an artifact that RunScripts ran, or "".
func (s *Store) Ran(name string) (string, error) {
	b, err := durable.ReadFile(s.Path(name, fileRan), api.MaxIDLength)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read which version of %s ran: %w", name, err)
	}
	return string(b), nil
}

// SetRan remembers that a version ran.
func (s *Store) SetRan(name, version string) error {
	return durable.WriteFile(s.Path(name, fileRan), []byte(version), 0o600)
}

// runStep runs one program of a bundle of scripts, in its own folder.
func runStep(ctx context.Context, s *Store, job *Job, program string, out io.Writer) error {
	state := s.Path(job.New.Name, dirState)
	if err := os.MkdirAll(state, 0o700); err != nil {
		return err
	}
	err := process.Run(ctx, process.Command{
		Argv: []string{program}, Dir: filepath.Dir(program), Env: job.env(filepath.Base(program), state), Timeout: job.timeout(), Out: out,
	})
	if err != nil {
		return fmt.Errorf("step %w", err)
	}
	return nil
}
