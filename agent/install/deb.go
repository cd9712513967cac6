package install

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"redflag/agent/process"
	"redflag/api"
	"redflag/durable"
)

const (
	// dpkgPatience is how long another package manager may hold the lock.
	dpkgPatience = 10 * time.Minute
	dpkgPause    = 2 * time.Second
	// aptArchives holds packages that apt has downloaded.
	aptArchives = "/var/cache/apt/archives"
)

// debInstaller installs a Debian package and keeps the one before, so that it
// can be installed again. dpkg repairs what a crash has left half done.
type debInstaller struct {
	fileInstaller
	host *Host
}

func (d *debInstaller) stage(ctx context.Context, job *Job) error {
	if err := d.fileInstaller.stage(ctx, job); err != nil {
		return err
	}
	pkg, err := d.field(ctx, job.New, "Package")
	if err != nil {
		return err
	}
	if job.Old == nil {
		return d.adopt(ctx, job, pkg)
	}
	old, err := d.field(ctx, *job.Old, "Package")
	if err != nil {
		return err
	}
	if old != pkg {
		return fmt.Errorf("the package is %s, the one before is %s", pkg, old)
	}
	return nil
}

// adopt keeps the package that was installed by other means, if apt still has
// its file. Without it there is no way back, and the install says so now.
func (d *debInstaller) adopt(ctx context.Context, job *Job, pkg string) error {
	version, err := d.installed(ctx, pkg)
	if err != nil || version == "" {
		return err
	}
	arch, err := d.field(ctx, job.New, "Architecture")
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s_%s_%s.deb", pkg, strings.ReplaceAll(version, ":", "%3a"), arch)
	src, err := os.Open(filepath.Join(aptArchives, name))
	if err != nil {
		return fmt.Errorf("%s %s is installed and its package is not kept, so there would be no way back: %w", pkg, version, err)
	}
	defer src.Close()
	old := Record{
		Name: job.New.Name, Version: adoptedVersion(job.New.Version), FileName: "package.deb",
		Install: &api.Install{Type: api.InstallDeb},
	}
	err = d.store.Put(&old, func(dir string) error {
		return durable.WriteSynced(filepath.Join(dir, old.FileName), 0o644, func(w io.Writer) error { _, err := io.Copy(w, src); return err })
	})
	if err != nil {
		return err
	}
	job.Old, job.New.Previous = &old, old.Version
	return d.store.note(job.New)
}

// adoptedVersion is what a package is called that was not signed here. It is
// older than every release: after a way back to it, any of them may follow.
func adoptedVersion(next string) string { return "0.0.0-before." + next }

func (d *debInstaller) apply(ctx context.Context, job *Job) (Restart, error) {
	if err := d.install(ctx, job, job.New); err != nil {
		return RestartNone, err
	}
	return d.fileInstaller.apply(ctx, job)
}

// verify asks dpkg rather than believing its exit code.
func (d *debInstaller) verify(ctx context.Context, job *Job) error {
	pkg, err := d.field(ctx, job.New, "Package")
	if err != nil {
		return err
	}
	want, err := d.field(ctx, job.New, "Version")
	if err != nil {
		return err
	}
	got, err := d.installed(ctx, pkg)
	if err == nil && got != want {
		err = fmt.Errorf("dpkg has %s %q installed, not %s", pkg, got, want)
	}
	return err
}

func (d *debInstaller) revert(ctx context.Context, job *Job) error {
	if job.Old != nil {
		if err := d.install(ctx, job, *job.Old); err != nil {
			return err
		}
		return d.fileInstaller.revert(ctx, job)
	}
	pkg, err := d.field(ctx, job.New, "Package")
	if err != nil {
		return err
	}
	if err := d.dpkg(ctx, job, "--force-remove-reinstreq", "--purge", pkg); err != nil {
		return err
	}
	return d.fileInstaller.revert(ctx, job)
}

func (d *debInstaller) install(ctx context.Context, job *Job, r Record) error {
	// Whatever a crash has left unconfigured would make dpkg refuse more work;
	// its own trouble is no reason to stop.
	_ = d.dpkg(ctx, job, "--configure", "--pending")
	return d.dpkg(ctx, job, "--force-confold", "--force-confdef", "--install", d.file(r))
}

// dpkg runs dpkg, and waits while another package manager holds its lock.
func (d *debInstaller) dpkg(ctx context.Context, job *Job, args ...string) error {
	argv := append([]string{"dpkg"}, d.host.Dpkg...)
	argv = append(argv, args...)
	deadline := time.Now().Add(dpkgPatience)
	again := time.NewTicker(dpkgPause)
	defer again.Stop()
	for {
		err := process.Run(ctx, process.Command{Argv: argv, Env: []string{"DEBIAN_FRONTEND=noninteractive"}, Timeout: job.timeout(), Out: &job.out})
		if err == nil {
			job.out.Reset()
			return nil
		}
		if said := job.out.String(); !strings.Contains(said, "locked by another process") || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-again.C:
		}
		job.out.Reset()
	}
}

func (d *debInstaller) file(r Record) string {
	return d.store.Path(r.Name, dirVersions, r.Version, r.FileName)
}

// field reads a field of a kept package.
func (d *debInstaller) field(ctx context.Context, r Record, name string) (string, error) {
	var out, said bytes.Buffer
	err := process.Run(ctx, process.Command{Argv: []string{"dpkg-deb", "--field", d.file(r), name}, Timeout: time.Minute, Out: &out, Err: &said})
	if err != nil {
		return "", fmt.Errorf("read package of %s %s: %w: %s", r.Name, r.Version, err, strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(out.String()), nil
}

// installed returns the installed version of a package, or "".
func (d *debInstaller) installed(ctx context.Context, pkg string) (string, error) {
	var out, said bytes.Buffer
	argv := append([]string{"dpkg-query"}, d.queryArgs()...)
	argv = append(argv, "--show", "--showformat=${db:Status-Status} ${Version}", "--", pkg)
	err := process.Run(ctx, process.Command{Argv: argv, Timeout: time.Minute, Out: &out, Err: &said})
	status, version, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
	switch {
	case err != nil && strings.Contains(said.String(), "no packages found"):
		return "", nil
	case err != nil:
		return "", errors.Join(err, errors.New(strings.TrimSpace(said.String())))
	case status != "installed":
		return "", nil
	}
	return version, nil
}

// queryArgs are those of dpkg's arguments that dpkg-query knows.
func (d *debInstaller) queryArgs() (args []string) {
	for _, a := range d.host.Dpkg {
		if strings.HasPrefix(a, "--root=") || strings.HasPrefix(a, "--admindir=") {
			args = append(args, a)
		}
	}
	return args
}
