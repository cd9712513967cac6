package signing

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/durable"
	"redflag/trust"
)

// Staged is metadata on its way from signer to signer: a folder with at most
// one root, one targets file and one of each delegated role, which people hand on
// as they like. Nothing in it is in force before the cluster has taken it.
type Staged struct {
	Root    []byte
	Targets []byte
	Roles   map[string][]byte // files of delegated roles
}

// StagedDir is where the staged metadata of a repository is.
func StagedDir(dir string) string { return filepath.Join(dir, "staged") }

// ReadStaged reads a staged folder; one that is absent is empty.
func ReadStaged(dir string) (Staged, error) {
	var s Staged
	for name, into := range map[string]*[]byte{"root.json": &s.Root, "targets.json": &s.Targets} {
		data, err := durable.ReadFile(filepath.Join(dir, name), trust.MaxTargetsLength)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("read staged metadata: %w", err)
		}
		*into = data
	}
	files, err := filepath.Glob(rolePath(dir, "*"))
	if err != nil {
		return s, err
	}
	for _, path := range files {
		role := strings.TrimSuffix(filepath.Base(path), ".json")
		if err := trust.CheckRole(role); err != nil {
			return s, fmt.Errorf("read staged metadata: %w", err)
		}
		if s.Roles == nil {
			s.Roles = map[string][]byte{}
		}
		if s.Roles[role], err = durable.ReadFile(path, trust.MaxTargetsLength); err != nil {
			return s, fmt.Errorf("read staged metadata: %w", err)
		}
	}
	return s, nil
}

// Empty reports whether nothing is staged.
func (s Staged) Empty() bool { return s.Root == nil && s.Targets == nil && len(s.Roles) == 0 }

// Write replaces a staged folder.
func (s Staged) Write(dir string) error {
	if err := s.write(dir); err != nil {
		return fmt.Errorf("stage metadata: %w", err)
	}
	return nil
}

func (s Staged) write(dir string) error {
	files := map[string][]byte{filepath.Join(dir, "root.json"): s.Root, filepath.Join(dir, "targets.json"): s.Targets}
	old, err := filepath.Glob(rolePath(dir, "*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		files[path] = nil
	}
	for role, file := range s.Roles {
		files[rolePath(dir, role)] = file
	}
	for path, data := range files {
		if data == nil {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := durable.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Standing is how far a staged file is.
type Standing struct {
	File    string   `json:"file"` // "root", "targets" or the name of a delegated role
	Version int64    `json:"version"`
	By      string   `json:"by"` // whose threshold: "present root", "next root", or the file's own
	Signed  []string `json:"signed"`
	Missing []string `json:"missing"` // keys that could still sign
	Need    int      `json:"need"`
}

// Complete reports whether enough keys have signed.
func (s Standing) Complete() bool { return len(s.Signed) >= s.Need }

// rootFor returns the root that will be in force with s.
func (r *Repository) rootFor(s Staged) []byte {
	if s.Root != nil {
		return s.Root
	}
	return r.root
}

// targetsFor returns the targets that will be in force with s.
func (r *Repository) targetsFor(s Staged) []byte {
	if s.Targets != nil {
		return s.Targets
	}
	return r.targets
}

// files are the staged files that a targets key or a delegated one signs.
func (s Staged) files() map[string][]byte {
	files := maps.Clone(s.Roles)
	if files == nil {
		files = map[string][]byte{}
	}
	if s.Targets != nil {
		files[metadata.TARGETS] = s.Targets
	}
	return files
}

// Standings says of each threshold that s must meet who has signed.
func (r *Repository) Standings(s Staged) ([]Standing, error) {
	var out []Standing
	if s.Root != nil {
		next, err := trust.Parse[metadata.RootType](s.Root)
		if err != nil {
			return nil, fmt.Errorf("staged %w", err)
		}
		for by, root := range map[string][]byte{"present root": r.root, "next root": s.Root} {
			st, err := standing(root, metadata.ROOT, next, next.Signed.Version)
			if err != nil {
				return nil, err
			}
			st.By = by
			out = append(out, st)
		}
	}
	for role, file := range s.files() {
		m, err := trust.Parse[metadata.TargetsType](file)
		if err != nil {
			return nil, fmt.Errorf("staged %s: %w", role, err)
		}
		st, err := r.roleStanding(s, role, m)
		if err != nil {
			return nil, err
		}
		st.By = role
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Standing) int { return slices.Compare([]string{a.File, b.By}, []string{b.File, a.By}) })
	return out, nil
}

// roleStanding is standing for targets and for what it delegates to.
func (r *Repository) roleStanding(s Staged, role string, file *targetsMetadata) (Standing, error) {
	if role == metadata.TARGETS {
		return standing(r.rootFor(s), role, file, file.Signed.Version)
	}
	m, err := trust.Parse[metadata.TargetsType](r.targetsFor(s))
	if err != nil {
		return Standing{}, err
	}
	st := Standing{File: role, Version: file.Signed.Version, Need: 1}
	if m.Signed.Delegations == nil {
		return st, nil
	}
	for i := range m.Signed.Delegations.Roles {
		d := &m.Signed.Delegations.Roles[i]
		if d.Name != role {
			continue
		}
		st.Need = d.Threshold
		for _, id := range d.KeyIDs {
			d.KeyIDs, d.Threshold = []string{id}, 1
			st.note(id, m.VerifyDelegate(role, file))
		}
	}
	return st, nil
}

// standing checks each key of a role of root by itself.
func standing(root []byte, role string, file any, version int64) (Standing, error) {
	m, err := trust.Parse[metadata.RootType](root)
	if err != nil {
		return Standing{}, err
	}
	st := Standing{File: role, Version: version, Need: m.Signed.Roles[role].Threshold}
	for _, id := range m.Signed.Roles[role].KeyIDs {
		m.Signed.Roles[role] = &metadata.Role{KeyIDs: []string{id}, Threshold: 1}
		st.note(id, m.VerifyDelegate(role, file))
	}
	return st, nil
}

func (s *Standing) note(id string, err error) {
	if err == nil {
		s.Signed = append(s.Signed, id)
	} else {
		s.Missing = append(s.Missing, id)
	}
}

// Sign adds the signatures of this machine's keys to s. It refuses what does
// not follow from the local metadata: a signer signs the next step, and sees
// with Review what it is.
func (r *Repository) Sign(s Staged) (Staged, error) {
	if s.Root != nil {
		m, err := trust.Parse[metadata.RootType](s.Root)
		if err != nil {
			return s, fmt.Errorf("sign root: %w", err)
		}
		if have := metadataVersion(r.root); m.Signed.Version != have+1 {
			return s, api.Errorf(api.CodeConflict, "the staged root is version %d, the local one is %d", m.Signed.Version, have).
				WithHint("bring the local metadata up to date with: redflag keys status")
		}
		if s.Root, err = r.signRoot(m); err != nil {
			return s, fmt.Errorf("sign root: %w", err)
		}
	}
	s.Roles = maps.Clone(s.Roles)
	for role, file := range s.files() {
		m, err := trust.Parse[metadata.TargetsType](file)
		if err != nil {
			return s, fmt.Errorf("sign %s: %w", role, err)
		}
		d, err := r.deskUnder(role, r.rootFor(s), r.targetsFor(s))
		if err != nil {
			return s, fmt.Errorf("sign %s: %w", role, err)
		}
		signed, err := r.signAs(d, m)
		if errors.Is(err, ErrNoKeys) {
			continue // of another person
		}
		if err != nil {
			return s, fmt.Errorf("sign %s: %w", role, err)
		}
		if role == metadata.TARGETS {
			s.Targets = signed
		} else {
			s.Roles[role] = signed
		}
	}
	return s, nil
}

// metadataVersion reads the version of a root that was checked.
func metadataVersion(root []byte) int64 {
	m, err := trust.Parse[metadata.RootType](root)
	if err != nil {
		return 0
	}
	return m.Signed.Version
}

// Restage adds targets to a staged root under which the present ones would not
// hold any more, because a key of targets was taken away or more must sign.
func (r *Repository) Restage(s Staged, now time.Time) (Staged, error) {
	if s.Root == nil || s.Targets != nil {
		return s, nil
	}
	st, err := r.Standings(Staged{Root: s.Root, Targets: r.targets})
	if err != nil {
		return s, err
	}
	if i := slices.IndexFunc(st, func(s Standing) bool { return s.File == metadata.TARGETS }); i >= 0 && st[i].Complete() {
		return s, nil
	}
	return r.renew(s, now, nil)
}

// RenewTargets stages the present targets with a new expiry.
func (r *Repository) RenewTargets(s Staged, now time.Time) (Staged, error) {
	return r.renew(s, now, nil)
}

// renew stages the next targets, changed by change.
func (r *Repository) renew(s Staged, now time.Time, change func(*metadata.TargetsType) error) (Staged, error) {
	next := s.Targets != nil // a further change of what is staged
	m, err := trust.Parse[metadata.TargetsType](r.targetsFor(s))
	if err != nil {
		return s, err
	}
	if !next {
		m.Signed.Version++
	}
	m.Signed.Expires = expiry(now, TargetsLifetime)
	if change != nil {
		if err := change(&m.Signed); err != nil {
			return s, err
		}
	}
	m.ClearSignatures()
	d, err := r.deskUnder(metadata.TARGETS, r.rootFor(s), r.targets)
	if err != nil {
		return s, err
	}
	file, err := r.signAs(d, m)
	if errors.Is(err, ErrNoKeys) {
		file, err = m.ToBytes(false)
	}
	if err != nil {
		return s, err
	}
	s.Targets = file
	return s, nil
}
