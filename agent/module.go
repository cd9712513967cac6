package agent

import (
	"context"
	"errors"
	"io"
	"os/exec"

	"github.com/hashicorp/go-hclog"

	"redflag/agent/process"
	"redflag/api"
	"redflag/telemetry"
	"redflag/trust"
)

// runModule runs the program "run" of a bundle of scripts that the operator has
// signed for this machine. Each run verifies the bundle anew and unpacks it where
// nobody else writes: what is on the disk is never believed. Like an install it does
// not go back to an older version, and a run that was torn is not repeated.
func (e *executor) runModule(ctx context.Context, log hclog.Logger, en *entry) error {
	cmd := en.Command
	if err := cmd.Kind.CheckSubject(cmd.Artifact, cmd.Version); err != nil {
		return err
	}
	if en.Ran {
		return api.Failf(api.ErrorInstall, "the agent ended while %s %s ran; it is not run twice", cmd.Artifact, cmd.Version)
	}
	newest, err := e.newestSeen(cmd.Artifact)
	if err != nil {
		return err
	}
	if newest != "" {
		order, err := trust.CompareVersions(cmd.Version, newest)
		if err != nil {
			return err
		}
		if order < 0 {
			return api.Failf(api.ErrorDowngrade, "%s %s is older than %s, which this machine has had", cmd.Artifact, cmd.Version, newest)
		}
	}
	target, err := e.verify(ctx, log, cmd)
	if err != nil {
		return err
	}
	if target.Custom.Install.Kind() != api.InstallExec {
		return api.Failf(api.ErrorVerify, "%s %s was not signed as a bundle of scripts; publish it with --type exec", cmd.Artifact, cmd.Version)
	}
	if err := e.download(ctx, log, en, target); err != nil {
		return err
	}
	if err := e.pointOfNoReturn(ctx); err != nil {
		return err
	}
	return e.runOnce(ctx, log, en, target)
}

// newestSeen is the newest version of an artifact that was installed or run.
func (e *executor) newestSeen(name string) (string, error) {
	ran, err := e.versions.Ran(name)
	if err != nil {
		return "", err
	}
	cur, err := e.versions.Current(name)
	if err != nil || cur == nil {
		return ran, err
	}
	if ran == "" {
		return cur.Version, nil
	}
	order, err := trust.CompareVersions(ran, cur.Version)
	if order > 0 {
		return ran, err
	}
	return cur.Version, err
}

func (e *executor) runOnce(ctx context.Context, log hclog.Logger, en *entry, target trust.Target) error {
	e.phase(api.PhaseRunning)
	record := recordOf(target)
	said := &process.Tail{}
	err := e.engine.RunScripts(ctx, record,
		func(w io.Writer) error {
			src, err := e.contents.open(&record)
			if err != nil {
				return err
			}
			defer src.Close()
			return trust.CopyVerified(w, src, record.Length, record.SHA256)
		},
		func() error {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			en.Ran = true
			if err := e.journal.note(en); err != nil {
				return err
			}
			return e.versions.SetRan(record.Name, record.Version)
		}, said)
	en.Log = &api.ExecutionLog{Stdout: said.String(), ExitCode: exitCode(err)}
	log.Info("module ran", "output", said.String(), telemetry.KeyError, err)
	e.tidy(log, record.Name)
	return err
}

// exitCode is what the program ended with, nil if none did.
func exitCode(err error) *int {
	if err == nil {
		return new(0)
	}
	if ended, ok := errors.AsType[*exec.ExitError](err); ok {
		return new(ended.ExitCode())
	}
	return nil
}
