package signing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/api"
	"redflag/durable"
	"redflag/trust"
)

// Staged is metadata on its way from signer to signer: a folder with at most
// one root and one targets file, which people hand on as they like. Nothing in
// it is in force before the cluster has taken it.
type Staged struct {
	Root    []byte
	Targets []byte
}

// StagedDir is where the staged metadata of a repository is.
func StagedDir(dir string) string { return filepath.Join(dir, "staged") }

// ReadStaged reads a staged folder; one that is absent is empty.
func ReadStaged(dir string) (Staged, error) {
	var s Staged
	for name, into := range map[string]*[]byte{"root.json": &s.Root, "targets.json": &s.Targets} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s, fmt.Errorf("read staged metadata: %w", err)
		}
		*into = data
	}
	return s, nil
}

// Empty reports whether nothing is staged.
func (s Staged) Empty() bool { return s.Root == nil && s.Targets == nil }

// Write replaces a staged folder.
func (s Staged) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("stage metadata: %w", err)
	}
	for name, data := range map[string][]byte{"root.json": s.Root, "targets.json": s.Targets} {
		path := filepath.Join(dir, name)
		if data == nil {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("stage metadata: %w", err)
			}
			continue
		}
		if err := durable.WriteFile(path, data, 0o644); err != nil {
			return fmt.Errorf("stage metadata: %w", err)
		}
	}
	return nil
}

// Standing is how far a staged file is.
type Standing struct {
	File    string   `json:"file"` // "root" or "targets"
	Version int64    `json:"version"`
	By      string   `json:"by"` // whose threshold: "present root", "next root", "targets"
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
	if s.Targets != nil {
		m, err := trust.Parse[metadata.TargetsType](s.Targets)
		if err != nil {
			return nil, fmt.Errorf("staged %w", err)
		}
		st, err := standing(r.rootFor(s), metadata.TARGETS, m, m.Signed.Version)
		if err != nil {
			return nil, err
		}
		st.By = "targets"
		out = append(out, st)
	}
	slices.SortFunc(out, func(a, b Standing) int { return slices.Compare([]string{a.File, b.By}, []string{b.File, a.By}) })
	return out, nil
}

// standing checks each key of a role by itself.
func standing(root []byte, role string, file any, version int64) (Standing, error) {
	m, err := trust.Parse[metadata.RootType](root)
	if err != nil {
		return Standing{}, err
	}
	st := Standing{File: role, Version: version, Need: m.Signed.Roles[role].Threshold}
	for _, id := range m.Signed.Roles[role].KeyIDs {
		m.Signed.Roles[role] = &metadata.Role{KeyIDs: []string{id}, Threshold: 1}
		if m.VerifyDelegate(role, file) == nil {
			st.Signed = append(st.Signed, id)
		} else {
			st.Missing = append(st.Missing, id)
		}
	}
	return st, nil
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
	if s.Targets != nil {
		m, err := trust.Parse[metadata.TargetsType](s.Targets)
		if err != nil {
			return s, fmt.Errorf("sign targets: %w", err)
		}
		if s.Targets, err = r.signTargets(r.rootFor(s), m); err != nil && !errors.Is(err, ErrNoKeys) {
			return s, fmt.Errorf("sign targets: %w", err)
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
	return r.renew(s, now)
}

// RenewTargets stages the present targets with a new expiry.
func (r *Repository) RenewTargets(s Staged, now time.Time) (Staged, error) { return r.renew(s, now) }

func (r *Repository) renew(s Staged, now time.Time) (Staged, error) {
	m, err := trust.Parse[metadata.TargetsType](r.targets)
	if err != nil {
		return s, err
	}
	m.Signed.Version++
	m.Signed.Expires = expiry(now, TargetsLifetime)
	m.ClearSignatures()
	file, err := r.signTargets(r.rootFor(s), m)
	if errors.Is(err, ErrNoKeys) {
		file, err = m.ToBytes(false)
	}
	if err != nil {
		return s, err
	}
	s.Targets = file
	return s, nil
}
