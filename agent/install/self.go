package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"redflag/api"
)

// selfInstaller replaces the agent. The new binary first runs beside the old
// one and must poll a node; then the link moves, the agent starts again as the
// new binary, and must poll once more before the install is final.
type selfInstaller struct {
	fileInstaller
	host *Host
}

func (s *selfInstaller) stage(ctx context.Context, job *Job) error {
	base, err := s.base()
	if err != nil {
		return err
	}
	job.New.Replaces = base
	if err := s.fileInstaller.stage(ctx, job); err != nil {
		return err
	}
	path := s.store.Path(job.New.Name, dirVersions, job.New.Version, job.New.FileName)
	if err := s.host.Prove(ctx, path); err != nil {
		return api.Failf(api.ErrorHealth, "the new binary does not poll: %w", err)
	}
	return nil
}

func (s *selfInstaller) apply(ctx context.Context, job *Job) (Restart, error) {
	_, err := s.fileInstaller.apply(ctx, job)
	return RestartAgent, err
}

// base is the hash of the binary that the machine's service starts.
func (s *selfInstaller) base() (string, error) {
	sum, err := hashFile(s.host.Executable)
	if err != nil {
		return "", fmt.Errorf("read own binary: %w", err)
	}
	if r, err := s.store.selfRecord(); err == nil && r != nil && r.SHA256 == sum {
		return r.Replaces, nil
	}
	return sum, nil
}

// selfRecord returns the current record of the agent's own binary, or nil.
func (s *Store) selfRecord() (*Record, error) {
	dirs, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		if r, err := s.Current(d.Name()); err == nil && r != nil && r.Install.Kind() == api.InstallSelf {
			return r, nil
		}
	}
	return nil, nil //nolint:nilnil // absence is an answer here
}

// Successor returns the binary that has taken the place of the one at
// executable, or "" if that one should run. A machine whose package was
// upgraded since runs the package's.
func Successor(artifactsDir, executable string) (string, error) {
	s := &Store{Dir: artifactsDir}
	r, err := s.selfRecord()
	if errors.Is(err, os.ErrNotExist) || (err == nil && r == nil) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	path := s.Path(r.Name, linkCurrent, r.FileName)
	own, err := filepath.EvalSymlinks(executable)
	if err != nil {
		return "", err
	}
	if root, err := filepath.EvalSymlinks(artifactsDir); err == nil && strings.HasPrefix(own, root+string(filepath.Separator)) {
		return "", nil // this is a successor already
	}
	sum, err := hashFile(executable)
	if err != nil || sum != r.Replaces {
		return "", err
	}
	return path, nil
}
