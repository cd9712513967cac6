package signing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/trust"
)

// Review says in words what s would change, for a person to read before signing
// it: the file came from somebody else's machine.
func (r *Repository) Review(s Staged) ([]string, error) {
	var lines []string
	if s.Root != nil {
		was, err := trust.Parse[metadata.RootType](r.root)
		if err != nil {
			return nil, err
		}
		next, err := trust.Parse[metadata.RootType](s.Root)
		if err != nil {
			return nil, fmt.Errorf("staged %w", err)
		}
		lines = append(lines, fmt.Sprintf("root %d, until %s", next.Signed.Version, next.Signed.Expires.Format(time.DateOnly)))
		lines = append(lines, reviewRoles(&was.Signed, &next.Signed)...)
	}
	files := s.files()
	for _, role := range slices.Sorted(maps.Keys(files)) {
		of, err := r.reviewFile(s, role, files[role])
		if err != nil {
			return nil, err
		}
		lines = append(lines, of...)
	}
	for i := range lines {
		lines[i] = visible(lines[i])
	}
	return lines, nil
}

// visible writes out what a terminal would act on, or show as something else.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// reviewFile says what changes in the file of targets or of a delegated role.
func (r *Repository) reviewFile(s Staged, role string, file []byte) ([]string, error) {
	next, err := trust.Parse[metadata.TargetsType](file)
	if err != nil {
		return nil, fmt.Errorf("staged %w", err)
	}
	d, err := r.deskUnder(role, r.rootFor(s), r.targetsFor(s))
	if err != nil {
		return nil, err
	}
	was := metadata.Targets(time.Time{})
	if d.local != nil {
		if was, err = trust.Parse[metadata.TargetsType](d.local); err != nil {
			return nil, err
		}
	}
	lines := []string{fmt.Sprintf("%s %d, until %s", role, next.Signed.Version, next.Signed.Expires.Format(time.DateOnly))}
	lines = append(lines, reviewDelegations(was.Signed.Delegations, next.Signed.Delegations)...)
	return append(lines, reviewTargets(&was.Signed, &next.Signed)...), nil
}

func reviewDelegations(was, next *metadata.Delegations) []string {
	before, after := delegatedRoles(was), delegatedRoles(next)
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(after)) {
		a, b := before[name], after[name]
		if a.Threshold != b.Threshold || !slices.Equal(a.Paths, b.Paths) {
			lines = append(lines, fmt.Sprintf("  %s may sign %s with %d signatures", name, strings.Join(b.Paths, ", "), b.Threshold))
		}
		lines = append(lines, reviewKeys(name, a.KeyIDs, b.KeyIDs)...)
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, ok := after[name]; !ok {
			lines = append(lines, "  "+name+" may sign nothing any more")
		}
	}
	if a, b := orderOf(was, after), orderOf(next, before); !slices.Equal(a, b) { // the first that a path fits has it
		lines = append(lines, "  roles are asked in another order: "+strings.Join(b, ", "))
	}
	return lines
}

// orderOf returns the names of those roles that are among others, in their order.
func orderOf(d *metadata.Delegations, others map[string]metadata.DelegatedRole) (names []string) {
	if d == nil {
		return nil
	}
	for _, r := range d.Roles {
		if _, ok := others[r.Name]; ok {
			names = append(names, r.Name)
		}
	}
	return names
}

func delegatedRoles(d *metadata.Delegations) map[string]metadata.DelegatedRole {
	roles := map[string]metadata.DelegatedRole{}
	if d != nil {
		for _, r := range d.Roles {
			roles[r.Name] = r
		}
	}
	return roles
}

func reviewKeys(role string, was, next []string) []string {
	var lines []string
	for _, id := range next {
		if !slices.Contains(was, id) {
			lines = append(lines, fmt.Sprintf("  %s gets key %s", role, id))
		}
	}
	for _, id := range was {
		if !slices.Contains(next, id) {
			lines = append(lines, fmt.Sprintf("  %s loses key %s", role, id))
		}
	}
	return lines
}

func reviewRoles(was, next *metadata.RootType) []string {
	var lines []string
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		a, b := was.Roles[name], next.Roles[name]
		if a.Threshold != b.Threshold {
			lines = append(lines, fmt.Sprintf("  %s needs %d signatures, before %d", name, b.Threshold, a.Threshold))
		}
		lines = append(lines, reviewKeys(name, a.KeyIDs, b.KeyIDs)...)
	}
	return lines
}

// custom is what says how a target is installed. go-tuf's Equal leaves it out.
func custom(f *metadata.TargetFiles) string {
	if f.Custom == nil {
		return "nothing"
	}
	return string(*f.Custom)
}

func reviewTargets(was, next *metadata.TargetsType) []string {
	var lines []string
	for path, file := range next.Targets {
		old, ok := was.Targets[path]
		if !ok || !old.Equal(*file) || custom(old) != custom(file) {
			lines = append(lines, fmt.Sprintf("  may be installed: %s, %d bytes, sha256 %s, as %s", path, file.Length, file.Hashes["sha256"], custom(file)))
		}
		if ok && custom(old) != custom(file) {
			lines = append(lines, fmt.Sprintf("  until now: %s, as %s", path, custom(old)))
		}
	}
	for path := range was.Targets {
		if next.Targets[path] == nil {
			lines = append(lines, "  may not be installed any more: "+path)
		}
	}
	slices.Sort(lines)
	return lines
}
