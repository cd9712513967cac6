package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"redflag/api"
)

const (
	dirVersions = "versions"
	dirStaging  = "staging"
	linkCurrent = "current"
	linkNext    = "current.next"
	// fileRecord cannot meet a payload's name: those never start with a dot.
	fileRecord = ".redflag.json"
	maxRecord  = 64 << 10
)

// record is what the store knows of one version. It lies beside the payload,
// so that one rename brings both.
type record struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	FileName string `json:"file_name"`
	Length   int64  `json:"length"`
	SHA256   string `json:"sha256"`
	InfoHash string `json:"info_hash"`
	// Previous is the version that was current when this one was installed.
	Previous string `json:"previous,omitempty"`
}

// versions is the store of installed artifacts. The symlink "current" of an
// artifact is the one truth about what is installed, and it changes by one
// rename: whatever the instant of a crash, a machine is on the old version or
// on the new one. Leftovers of a crash are removed by the next install. One
// goroutine changes the store; any may read it.
type versions struct {
	dir string
	// step is called after each durable step; tests stop there as a crash
	// would.
	step func(name string) error
}

func openVersions(dir string) (*versions, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make artifacts directory: %w", err)
	}
	return &versions{dir: dir, step: func(string) error { return nil }}, nil
}

func (v *versions) path(name string, elem ...string) string {
	return filepath.Join(append([]string{v.dir, name}, elem...)...)
}

// current returns the record of the version that is installed, or nil.
func (v *versions) current(name string) (*record, error) {
	link, err := os.Readlink(v.path(name, linkCurrent))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, fmt.Errorf("read current version of %s: %w", name, err)
	}
	return v.record(name, filepath.Base(link))
}

func (v *versions) record(name, version string) (*record, error) {
	b, err := readFile(v.path(name, dirVersions, version, fileRecord), maxRecord)
	if err != nil {
		return nil, fmt.Errorf("read record of %s %s: %w", name, version, err)
	}
	r := &record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("decode record of %s %s: %w", name, version, err)
	}
	return r, nil
}

// previous returns the record of the version that a rollback would go to, or
// nil.
func (v *versions) previous(name string) (*record, error) {
	cur, err := v.current(name)
	if err != nil || cur == nil || cur.Previous == "" {
		return nil, err
	}
	prev, err := v.record(name, cur.Previous)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // it was the oldest one and is gone
	}
	return prev, err
}

// installed lists the artifacts of the machine. One that cannot be read is
// left out: the next command for it says why.
func (v *versions) installed() ([]api.Installed, error) {
	dirs, err := os.ReadDir(v.dir)
	if err != nil {
		return nil, fmt.Errorf("list artifacts: %w", err)
	}
	var all []api.Installed
	for _, d := range dirs {
		cur, err := v.current(d.Name())
		if err != nil || cur == nil {
			continue
		}
		in := api.Installed{Name: d.Name(), Version: cur.Version, SHA256: cur.SHA256}
		if prev, err := v.previous(d.Name()); err == nil && prev != nil {
			in.Previous = prev.Version
		}
		all = append(all, in)
	}
	return all, nil
}

// payloads returns the info hashes of the current versions.
func (v *versions) payloads() ([]string, error) {
	dirs, err := os.ReadDir(v.dir)
	if err != nil {
		return nil, fmt.Errorf("list artifacts: %w", err)
	}
	var hashes []string
	for _, d := range dirs {
		if cur, err := v.current(d.Name()); err == nil && cur != nil {
			hashes = append(hashes, cur.InfoHash)
		}
	}
	return hashes, nil
}

// install puts a version in place and makes it current. fill writes the
// payload and fails unless it is the right one; until it has returned nothing
// but the staging folder changes.
func (v *versions) install(r record, fill func(io.Writer) error) error {
	if err := v.stage(&r, fill); err != nil {
		return err
	}
	if err := v.reveal(r); err != nil {
		return err
	}
	return v.switchTo(r.Name, r.Version)
}

// stage writes payload and record into the staging folder.
func (v *versions) stage(r *record, fill func(io.Writer) error) error {
	cur, err := v.current(r.Name)
	if err != nil {
		return err
	}
	if cur != nil {
		if cur.Version == r.Version {
			return fmt.Errorf("%s %s is in use and cannot be replaced", r.Name, r.Version)
		}
		r.Previous = cur.Version
	}
	staging := v.path(r.Name, dirStaging)
	if err := os.RemoveAll(staging); err != nil {
		return fmt.Errorf("clear staging: %w", err)
	}
	for _, dir := range []string{staging, v.path(r.Name, dirVersions)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", filepath.Base(dir), err)
		}
	}
	for _, dir := range []string{v.dir, v.path(r.Name)} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	if err := v.step("staging made"); err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(staging, r.FileName), 0o755, fill); err != nil {
		return err
	}
	if err := v.step("payload written"); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(staging, fileRecord), b, 0o644); err != nil {
		return err
	}
	return v.step("record written")
}

// reveal moves the staged version to its name.
func (v *versions) reveal(r record) error {
	// An install that crashed after this point left the folder behind.
	if err := os.RemoveAll(v.path(r.Name, dirVersions, r.Version)); err != nil {
		return fmt.Errorf("clear leftover version: %w", err)
	}
	if err := os.Rename(v.path(r.Name, dirStaging), v.path(r.Name, dirVersions, r.Version)); err != nil {
		return fmt.Errorf("name staged version: %w", err)
	}
	if err := v.step("version named"); err != nil {
		return err
	}
	for _, dir := range []string{v.path(r.Name, dirVersions), v.path(r.Name)} {
		if err := syncDir(dir); err != nil {
			return err
		}
	}
	return v.step("version synced")
}

// switchTo makes a version that is in place the current one. Repeating it is
// harmless.
func (v *versions) switchTo(name, version string) error {
	if _, err := v.record(name, version); err != nil {
		return err
	}
	next := v.path(name, linkNext)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear leftover link: %w", err)
	}
	if err := os.Symlink(filepath.Join(dirVersions, version), next); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	if err := v.step("link made"); err != nil {
		return err
	}
	if err := os.Rename(next, v.path(name, linkCurrent)); err != nil {
		return fmt.Errorf("switch version: %w", err)
	}
	if err := v.step("switched"); err != nil {
		return err
	}
	if err := syncDir(v.path(name)); err != nil {
		return err
	}
	return v.step("switch synced")
}

// prune removes all that an install or a crash left behind, but for the
// current version and the one before it.
func (v *versions) prune(name string) error {
	cur, err := v.current(name)
	if err != nil || cur == nil {
		return err
	}
	if err := v.discard(name); err != nil {
		return err
	}
	dirs, err := os.ReadDir(v.path(name, dirVersions))
	if err != nil {
		return fmt.Errorf("list versions: %w", err)
	}
	for _, d := range dirs {
		if d.Name() == cur.Version || d.Name() == cur.Previous {
			continue
		}
		if err := os.RemoveAll(v.path(name, dirVersions, d.Name())); err != nil {
			return fmt.Errorf("remove old version: %w", err)
		}
		if err := v.step("old version removed"); err != nil {
			return err
		}
	}
	return nil
}

// discard removes a staged version that will not be installed.
func (v *versions) discard(name string) error {
	if err := os.RemoveAll(v.path(name, dirStaging)); err != nil {
		return fmt.Errorf("clear staging: %w", err)
	}
	return nil
}
