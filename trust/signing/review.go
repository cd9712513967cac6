package signing

import (
	"fmt"
	"slices"
	"time"

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
	if s.Targets != nil {
		next, err := trust.Parse[metadata.TargetsType](s.Targets)
		if err != nil {
			return nil, fmt.Errorf("staged %w", err)
		}
		was, err := trust.Parse[metadata.TargetsType](r.targets)
		if err != nil {
			return nil, err
		}
		lines = append(lines, fmt.Sprintf("targets %d, until %s", next.Signed.Version, next.Signed.Expires.Format(time.DateOnly)))
		lines = append(lines, reviewTargets(&was.Signed, &next.Signed)...)
	}
	return lines, nil
}

func reviewRoles(was, next *metadata.RootType) []string {
	var lines []string
	for _, name := range metadata.TOP_LEVEL_ROLE_NAMES {
		a, b := was.Roles[name], next.Roles[name]
		if a.Threshold != b.Threshold {
			lines = append(lines, fmt.Sprintf("  %s needs %d signatures, before %d", name, b.Threshold, a.Threshold))
		}
		for _, id := range b.KeyIDs {
			if !slices.Contains(a.KeyIDs, id) {
				lines = append(lines, fmt.Sprintf("  %s gets key %s", name, id))
			}
		}
		for _, id := range a.KeyIDs {
			if !slices.Contains(b.KeyIDs, id) {
				lines = append(lines, fmt.Sprintf("  %s loses key %s", name, id))
			}
		}
	}
	return lines
}

func reviewTargets(was, next *metadata.TargetsType) []string {
	var lines []string
	for path, file := range next.Targets {
		if old, ok := was.Targets[path]; !ok || !old.Equal(*file) {
			lines = append(lines, fmt.Sprintf("  may be installed: %s, %d bytes, sha256 %s", path, file.Length, file.Hashes["sha256"]))
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
