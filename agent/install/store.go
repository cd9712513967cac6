package install

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"redflag/api"
	"redflag/durable"
)

const (
	dirVersions = "versions"
	dirStaging  = "staging"
	dirState    = "state"  // what the scripts of a bundle keep
	dirModule   = "module" // the tree of an update module at work
	linkCurrent = "current"
	linkNext    = "current.next"
	// fileRecord cannot meet a payload's name: those never start with a dot.
	fileRecord = ".redflag.json"
	maxRecord  = 64 << 10
)

// Record is what the store knows of one version. It lies beside the payload,
// so that one rename brings both.
type Record struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	FileName string `json:"file_name"`
	Length   int64  `json:"length"`
	SHA256   string `json:"sha256"`
	InfoHash string `json:"info_hash"`
	// Coding says what the swarm has of the payload under InfoHash; nil for the
	// payload itself. Length and SHA256 are always those of the payload.
	Coding *api.Coding `json:"coding,omitempty"`
	// Previous is the version that was current when this one was installed.
	Previous string `json:"previous,omitempty"`
	// Install is the signed way to install the version; nil for a plain file.
	Install *api.Install `json:"install,omitempty"`
	// Replaces is the SHA-256 of the binary that the machine's service starts,
	// for a version of the agent itself.
	Replaces string `json:"replaces,omitempty"`
}

// Store is the store of installed artifacts. The symlink "current" of an
// artifact is the one truth about what is installed, and it changes by one
// rename: whatever the instant of a crash, a machine is on the old version or
// on the new one. Leftovers of a crash are removed by the next install. One
// goroutine changes the store; any may read it.
type Store struct {
	Dir string
	// Keep is how many versions before the current one are kept, and Budget
	// what they may take in bytes, 0 for any amount. One is always kept.
	Keep   int
	Budget int64
	// Step is called after each durable step; tests stop there as a crash
	// would.
	Step func(name string) error
}

// OpenStore makes the store's directory if it is missing.
func OpenStore(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make artifacts directory: %w", err)
	}
	return &Store{Dir: dir, Keep: 1}, nil
}

// Path returns a path in the folder of an artifact.
func (s *Store) Path(name string, elem ...string) string {
	return filepath.Join(append([]string{s.Dir, name}, elem...)...)
}

// Current returns the record of the version that is installed, or nil.
func (s *Store) Current(name string) (*Record, error) {
	link, err := os.Readlink(s.Path(name, linkCurrent))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, fmt.Errorf("read current version of %s: %w", name, err)
	}
	return s.Record(name, filepath.Base(link))
}

// Record returns what is known of a version, current or kept.
func (s *Store) Record(name, version string) (*Record, error) {
	b, err := durable.ReadFile(s.Path(name, dirVersions, version, fileRecord), maxRecord)
	if err != nil {
		return nil, fmt.Errorf("read record of %s %s: %w", name, version, err)
	}
	r := &Record{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, fmt.Errorf("decode record of %s %s: %w", name, version, err)
	}
	return r, nil
}

// Previous returns the record of the version that a rollback would go to, or
// nil.
func (s *Store) Previous(name string) (*Record, error) {
	cur, err := s.Current(name)
	if err != nil || cur == nil || cur.Previous == "" {
		return nil, err
	}
	prev, err := s.Record(name, cur.Previous)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // it was the oldest one and is gone
	}
	return prev, err
}

// Installed lists the artifacts of the machine. One that cannot be read is
// left out: the next command for it says why.
func (s *Store) Installed() ([]api.Installed, error) {
	dirs, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("list artifacts: %w", err)
	}
	var all []api.Installed
	for _, d := range dirs {
		cur, err := s.Current(d.Name())
		if err != nil || cur == nil {
			continue
		}
		in := api.Installed{Name: d.Name(), Version: cur.Version, SHA256: cur.SHA256}
		if prev, err := s.Previous(d.Name()); err == nil && prev != nil {
			in.Previous = prev.Version
		}
		all = append(all, in)
	}
	return all, nil
}

// Payloads returns the info hashes of the current versions.
func (s *Store) Payloads() ([]string, error) {
	dirs, err := os.ReadDir(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("list artifacts: %w", err)
	}
	var hashes []string
	for _, d := range dirs {
		if cur, err := s.Current(d.Name()); err == nil && cur != nil && cur.InfoHash != "" {
			hashes = append(hashes, cur.InfoHash)
		}
	}
	return hashes, nil
}

// Put stages a version and gives it its name in the store; it does not make it
// current. fill writes the payload into a folder, and fails unless it is the
// right one; until it has returned nothing but the staging folder changes.
func (s *Store) Put(r *Record, fill func(dir string) error) error {
	if err := s.stage(r, fill); err != nil {
		return err
	}
	return s.reveal(*r)
}

// stage writes payload and record into the staging folder.
func (s *Store) stage(r *Record, fill func(dir string) error) error {
	cur, err := s.Current(r.Name)
	if err != nil {
		return err
	}
	if cur != nil {
		if cur.Version == r.Version {
			return fmt.Errorf("%s %s is in use and cannot be replaced", r.Name, r.Version)
		}
		r.Previous = cur.Version
	}
	staging := s.Path(r.Name, dirStaging)
	if err := os.RemoveAll(staging); err != nil {
		return fmt.Errorf("clear staging: %w", err)
	}
	for _, dir := range []string{staging, s.Path(r.Name, dirVersions)} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make %s: %w", filepath.Base(dir), err)
		}
	}
	for _, dir := range []string{s.Dir, s.Path(r.Name)} {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	if err := s.mark("staging made"); err != nil {
		return err
	}
	if err := fill(staging); err != nil {
		return err
	}
	if err := s.mark("payload written"); err != nil {
		return err
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(staging, fileRecord), b, 0o644); err != nil {
		return err
	}
	return s.mark("record written")
}

// note writes the record of a version that is in the store.
func (s *Store) note(r Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return durable.WriteFile(s.Path(r.Name, dirVersions, r.Version, fileRecord), b, 0o644)
}

// reveal moves the staged version to its name.
func (s *Store) reveal(r Record) error {
	// An install that crashed after this point left the folder behind.
	if err := os.RemoveAll(s.Path(r.Name, dirVersions, r.Version)); err != nil {
		return fmt.Errorf("clear leftover version: %w", err)
	}
	if err := os.Rename(s.Path(r.Name, dirStaging), s.Path(r.Name, dirVersions, r.Version)); err != nil {
		return fmt.Errorf("name staged version: %w", err)
	}
	if err := s.mark("version named"); err != nil {
		return err
	}
	for _, dir := range []string{s.Path(r.Name, dirVersions), s.Path(r.Name)} {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	return s.mark("version synced")
}

// SwitchTo makes a version that is in place the current one. Repeating it is
// harmless.
func (s *Store) SwitchTo(name, version string) error {
	if _, err := s.Record(name, version); err != nil {
		return err
	}
	next := s.Path(name, linkNext)
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear leftover link: %w", err)
	}
	if err := os.Symlink(filepath.Join(dirVersions, version), next); err != nil {
		return fmt.Errorf("make link: %w", err)
	}
	if err := s.mark("link made"); err != nil {
		return err
	}
	if err := os.Rename(next, s.Path(name, linkCurrent)); err != nil {
		return fmt.Errorf("switch version: %w", err)
	}
	if err := s.mark("switched"); err != nil {
		return err
	}
	if err := durable.SyncDir(s.Path(name)); err != nil {
		return err
	}
	return s.mark("switch synced")
}

// Prune removes all that installs and crashes left behind, but for the current
// version and those before it that Keep and Budget allow.
func (s *Store) Prune(name string) error {
	cur, err := s.Current(name)
	if err != nil {
		return err
	}
	if err := s.Discard(name); err != nil {
		return err
	}
	keep, err := s.kept(name, cur)
	if err != nil {
		return err
	}
	dirs, err := os.ReadDir(s.Path(name, dirVersions))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("list versions: %w", err)
	}
	for _, d := range dirs {
		if keep[d.Name()] {
			continue
		}
		if err := os.RemoveAll(s.Path(name, dirVersions, d.Name())); err != nil {
			return fmt.Errorf("remove old version: %w", err)
		}
		if err := s.mark("old version removed"); err != nil {
			return err
		}
	}
	return nil
}

// kept walks back from the current version.
func (s *Store) kept(name string, cur *Record) (map[string]bool, error) {
	keep := map[string]bool{}
	if cur == nil {
		return keep, nil
	}
	keep[cur.Version] = true
	left := s.Budget
	for version, n := cur.Previous, 0; version != "" && n < max(s.Keep, 1) && !keep[version]; n++ {
		r, err := s.Record(name, version)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		size, err := sizeOf(s.Path(name, dirVersions, version))
		if err != nil {
			return nil, err
		}
		if left -= size; n > 0 && s.Budget > 0 && left < 0 {
			break
		}
		keep[version] = true
		version = r.Previous
	}
	return keep, nil
}

// sizeOf adds up the files in dir.
func sizeOf(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			total += info.Size()
		}
		return err
	})
	return total, err
}

// Clear takes an artifact off the machine: no version is current any more.
func (s *Store) Clear(name string) error {
	if err := os.Remove(s.Path(name, linkCurrent)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear version: %w", err)
	}
	if err := s.mark("cleared"); err != nil {
		return err
	}
	return durable.SyncDir(s.Path(name))
}

func (s *Store) mark(step string) error {
	if s.Step == nil {
		return nil
	}
	return s.Step(step)
}

// Discard removes a staged version that will not be installed.
func (s *Store) Discard(name string) error {
	if err := os.RemoveAll(s.Path(name, dirStaging)); err != nil {
		return fmt.Errorf("clear staging: %w", err)
	}
	return nil
}
