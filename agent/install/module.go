package install

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"redflag/agent/process"
	"redflag/api"
	"redflag/durable"
)

// moduleInstaller drives an update module of the machine by version 3 of the
// update modules' file protocol: MODULE STATE DIR, where DIR is the tree that
// module_tree.go lays out. A module that a machine has for another client of
// that protocol runs as it is.
type moduleInstaller struct {
	fileInstaller
	host *Host
}

func (m *moduleInstaller) repeatable() bool { return false }

func (m *moduleInstaller) tree(job *Job) string { return m.store.Path(job.New.Name, dirModule) }

func (m *moduleInstaller) stage(ctx context.Context, job *Job) error {
	if _, err := os.Stat(m.program(job)); err != nil {
		return api.Failf(api.ErrorUnsupported, "update module %s is not on this machine: %w", job.how().Module, err)
	}
	err := m.put(job, func(dir string) error {
		if job.how().UnpackedFiles == 0 {
			return durable.WriteSynced(filepath.Join(dir, job.New.FileName), 0o644, job.Fill)
		}
		return unpack(job, dir, dir)
	})
	if err != nil {
		return err
	}
	if err := m.layOut(job); err != nil {
		return fmt.Errorf("lay out module's files: %w", err)
	}
	return m.download(ctx, job)
}

func (m *moduleInstaller) apply(ctx context.Context, job *Job) (Restart, error) {
	if err := m.call(ctx, job, "ArtifactInstall", nil); err != nil {
		return RestartNone, err
	}
	answer, err := m.ask(ctx, job, "NeedsArtifactReboot")
	if err != nil {
		return RestartNone, err
	}
	restart, ok := map[string]Restart{"": RestartNone, "No": RestartNone, "Yes": RestartModule, "Automatic": RestartSystem}[answer]
	if !ok {
		return RestartNone, fmt.Errorf("module answers NeedsArtifactReboot with %.40q", answer)
	}
	_, err = m.fileInstaller.apply(ctx, job)
	return restart, err
}

func (m *moduleInstaller) verify(ctx context.Context, job *Job) error {
	if job.Restart == RestartNone {
		return nil
	}
	return m.call(ctx, job, "ArtifactVerifyReboot", nil)
}

func (m *moduleInstaller) commit(ctx context.Context, job *Job) error {
	return m.call(ctx, job, "ArtifactCommit", nil)
}

func (m *moduleInstaller) revert(ctx context.Context, job *Job) error {
	switch answer, err := m.ask(ctx, job, "SupportsRollback"); {
	case err != nil:
		return err
	case answer == "" || answer == "No":
		return fmt.Errorf("%w: the module does not support it", errNoWayBack)
	case answer != "Yes":
		return fmt.Errorf("%w: module answers SupportsRollback with %.40q", errNoWayBack, answer)
	}
	if err := m.call(ctx, job, "ArtifactRollback", nil); err != nil {
		return err
	}
	return m.fileInstaller.revert(ctx, job)
}

func (m *moduleInstaller) reboot(ctx context.Context, job *Job) error {
	return m.call(ctx, job, "ArtifactReboot", nil)
}

func (m *moduleInstaller) revertReboot(ctx context.Context, job *Job) error {
	return m.call(ctx, job, "ArtifactRollbackReboot", nil)
}

func (m *moduleInstaller) verifyRevert(ctx context.Context, job *Job) error {
	return m.call(ctx, job, "ArtifactVerifyRollbackReboot", nil)
}

func (m *moduleInstaller) failed(ctx context.Context, job *Job) error {
	return m.call(ctx, job, "ArtifactFailure", nil)
}

func (m *moduleInstaller) cleanup(ctx context.Context, job *Job) error {
	tree := m.tree(job)
	if _, err := os.Stat(tree); err != nil {
		return nil //nolint:nilerr // the module was never called, or cleaned up already
	}
	if err := m.call(ctx, job, "Cleanup", nil); err != nil {
		return err
	}
	return os.RemoveAll(tree)
}

func (m *moduleInstaller) program(job *Job) string {
	dir := m.host.ModulesDir
	if dir == "" {
		dir = DefaultModulesDir
	}
	return filepath.Join(dir, job.how().Module)
}

// call runs the module in a state. Its output goes to the job's log.
func (m *moduleInstaller) call(ctx context.Context, job *Job, state string, started func() func()) error {
	job.Log.Debug("module called", "module", job.how().Module, "state", state)
	err := m.exec(ctx, job, state, &job.out, nil, started)
	if err != nil {
		return fmt.Errorf("%s: module %w", state, err)
	}
	return nil
}

// ask returns what the module prints to a query. What it says besides, as an error,
// goes to the job's log.
func (m *moduleInstaller) ask(ctx context.Context, job *Job, query string) (string, error) {
	var out bytes.Buffer
	if err := m.exec(ctx, job, query, &limited{&out, 1 << 10}, &job.out, nil); err != nil {
		return "", fmt.Errorf("%s: module %w", query, err)
	}
	return strings.TrimSpace(out.String()), nil
}

func (m *moduleInstaller) exec(ctx context.Context, job *Job, state string, out, errOut io.Writer, started func() func()) error {
	tree := m.tree(job)
	return process.Run(ctx, process.Command{
		Argv: []string{m.program(job), state, tree}, Dir: tree, Timeout: job.timeout(), Out: out, Err: errOut, Started: started,
	})
}

// limited drops what is written beyond its bound.
type limited struct {
	w    io.Writer
	left int
}

// Write implements io.Writer.
func (l *limited) Write(p []byte) (int, error) {
	keep := p[:min(len(p), l.left)]
	l.left -= len(keep)
	if _, err := l.w.Write(keep); err != nil {
		return 0, err
	}
	return len(p), nil
}
