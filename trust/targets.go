package trust

import (
	"fmt"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// TargetsSummary is what signed targets metadata says.
type TargetsSummary struct {
	Version int64
	Expires time.Time
	Targets map[string]Target // by path
}

// CheckTargets returns what targets metadata says, if root trusts its signers,
// neither has expired at now, and every target in it is valid. A zero now skips
// the expiry. It does not know what was signed before: comparing the version
// with the one in force is up to the caller.
func CheckTargets(root, targets []byte, now time.Time) (TargetsSummary, error) {
	set, err := openRoot(root)
	if err != nil {
		return TargetsSummary{}, err
	}
	m, err := Parse[metadata.TargetsType](targets)
	if err != nil {
		return TargetsSummary{}, err
	}
	err = guarded(func() error { return set.Root.VerifyDelegate(metadata.TARGETS, m) })
	if err != nil {
		return TargetsSummary{}, fmt.Errorf("targets: %w", classify(err, ErrMalformed))
	}
	if err := checkExpiry(metadata.ROOT, set.Root.Signed.Expires, now); err != nil {
		return TargetsSummary{}, err
	}
	if err := checkExpiry(metadata.TARGETS, m.Signed.Expires, now); err != nil {
		return TargetsSummary{}, err
	}
	return summarise(&m.Signed)
}

func summarise(signed *metadata.TargetsType) (TargetsSummary, error) {
	s := TargetsSummary{Version: signed.Version, Expires: signed.Expires, Targets: make(map[string]Target, len(signed.Targets))}
	for path, file := range signed.Targets {
		t, err := targetOf(path, file)
		if err != nil {
			return TargetsSummary{}, err
		}
		s.Targets[path] = t
	}
	return s, nil
}
