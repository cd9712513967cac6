package install

import (
	"context"
	"os"
	"path/filepath"

	"redflag/payload/archive"

	"redflag/durable"
)

// filePayload holds the payload of an archive while it is unpacked. It starts
// with a dot, and no payload's own name does.
const filePayload = ".payload"

// fileInstaller puts one file in place: the switch of a link is the install.
type fileInstaller struct{ store *Store }

func (f *fileInstaller) repeatable() bool { return true }

func (f *fileInstaller) stage(_ context.Context, job *Job) error {
	return f.put(job, func(dir string) error {
		return durable.WriteSynced(filepath.Join(dir, job.New.FileName), 0o755, job.Fill)
	})
}

// put stages the new version, unless the store keeps it already.
func (f *fileInstaller) put(job *Job, fill func(dir string) error) error {
	if job.Kept {
		_, err := f.store.Record(job.New.Name, job.New.Version)
		return err
	}
	return f.store.Put(&job.New, fill)
}

func (f *fileInstaller) apply(_ context.Context, job *Job) (Restart, error) {
	return RestartNone, f.store.SwitchTo(job.New.Name, job.New.Version)
}

func (f *fileInstaller) verify(context.Context, *Job) error { return nil }
func (f *fileInstaller) commit(context.Context, *Job) error { return nil }

func (f *fileInstaller) revert(_ context.Context, job *Job) error {
	if job.Old == nil {
		return f.store.Clear(job.New.Name)
	}
	return f.store.SwitchTo(job.Old.Name, job.Old.Version)
}

func (f *fileInstaller) failed(context.Context, *Job) error  { return nil }
func (f *fileInstaller) cleanup(context.Context, *Job) error { return nil }

// archiveInstaller puts a folder in place of a file.
type archiveInstaller struct{ fileInstaller }

func (a *archiveInstaller) stage(_ context.Context, job *Job) error {
	return a.put(job, func(dir string) error { return unpack(job, dir, dir) })
}

// unpack verifies the payload as a whole before any of it is read as an
// archive, and unpacks it into dir.
func unpack(job *Job, scratch, dir string) error {
	packed := filepath.Join(scratch, filePayload)
	if err := durable.WriteSynced(packed, 0o600, job.Fill); err != nil {
		return err
	}
	how := job.how()
	err := archive.Unpack(packed, dir, archive.Limits{Bytes: how.UnpackedSize, Files: how.UnpackedFiles}, filePayload, fileRecord)
	if err != nil {
		return err
	}
	return os.Remove(packed)
}
