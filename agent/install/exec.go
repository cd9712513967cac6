package install

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// execInstaller runs the scripts of a signed bundle. A step is a program at the
// root of the archive; only install must exist. An interrupted install is
// reverted, so rollback must cope with an install that stopped anywhere.
type execInstaller struct{ archiveInstaller }

func (x *execInstaller) repeatable() bool { return false }

func (x *execInstaller) stage(ctx context.Context, job *Job) error {
	if err := x.archiveInstaller.stage(ctx, job); err != nil {
		return err
	}
	if _, err := os.Stat(x.path(job, "install")); err != nil {
		return fmt.Errorf("the bundle has no install step: %w", err)
	}
	return x.run(ctx, job, "pre") // a check: it may refuse, not change
}

func (x *execInstaller) apply(ctx context.Context, job *Job) (Restart, error) {
	if err := x.run(ctx, job, "install"); err != nil {
		return RestartNone, err
	}
	return x.archiveInstaller.apply(ctx, job)
}

func (x *execInstaller) verify(ctx context.Context, job *Job) error {
	return x.run(ctx, job, "verify")
}

func (x *execInstaller) commit(ctx context.Context, job *Job) error {
	return x.run(ctx, job, "commit")
}

func (x *execInstaller) revert(ctx context.Context, job *Job) error {
	if _, err := os.Stat(x.path(job, "rollback")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: the bundle has no rollback step", errNoWayBack)
	}
	if err := x.run(ctx, job, "rollback"); err != nil {
		return err
	}
	return x.archiveInstaller.revert(ctx, job)
}

func (x *execInstaller) path(job *Job, step string) string {
	return x.store.Path(job.New.Name, dirVersions, job.New.Version, step)
}

// run runs a step that the bundle has; one that it has not succeeds.
func (x *execInstaller) run(ctx context.Context, job *Job, step string) error {
	path := x.path(job, step)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return runStep(ctx, x.store, job, path, &job.out)
}

// env is what a step of a bundle gets to know.
func (j *Job) env(step, state string) []string {
	env := []string{
		"REDFLAG_STEP=" + step, "REDFLAG_NAME=" + j.New.Name, "REDFLAG_VERSION=" + j.New.Version,
		"REDFLAG_PREVIOUS=" + j.oldVersion(), "REDFLAG_STATE_DIR=" + state,
	}
	for k, v := range j.how().Params {
		env = append(env, "REDFLAG_PARAM_"+strings.NewReplacer("-", "_", ".", "_", "+", "_").Replace(k)+"="+v)
	}
	slices.Sort(env)
	return env
}

func (j *Job) oldVersion() string {
	if j.Old == nil {
		return ""
	}
	return j.Old.Version
}
