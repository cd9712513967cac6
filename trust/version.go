package trust

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/hashicorp/go-version"

	"redflag/api"
)

// CheckVersion returns an ErrMalformed error for a version that has no place
// in the order of CompareVersions, such as "latest".
func CheckVersion(v string) error {
	_, err := parseVersion(v)
	return err
}

func parseVersion(v string) (*version.Version, error) {
	if !api.ValidID(v) {
		return nil, fmt.Errorf("version %.160q: %w: not a valid name", v, ErrMalformed)
	}
	parsed, err := version.NewVersion(v)
	if err != nil {
		return nil, fmt.Errorf("version %q: %w: want numbers with dots, such as 1.4.2 or 1.5.0-rc.1", v, ErrMalformed)
	}
	return parsed, nil
}

// CompareVersions returns -1 when a is older than b, +1 when it is newer, and 0
// when neither is. An agent installs nothing older than what it has, except by
// a rollback.
//
// The syntax is go-version's: numbers with dots in any count, an optional
// leading v, an optional pre-release and build ("v1.4", "1.5.0-rc.1+abc"). The
// order is SemVer's: numbers first, missing ones zero; a pre-release is older
// than its release; the build does not count. It is a total order, which
// go-version's own Compare is not (its pull request 208): it has alpha <
// alpha.1 < alpha.beta < alpha, a ladder down to any older version.
func CompareVersions(a, b string) (int, error) {
	va, err := parseVersion(a)
	if err != nil {
		return 0, err
	}
	vb, err := parseVersion(b)
	if err != nil {
		return 0, err
	}
	if c := compareNumbers(va.Segments64(), vb.Segments64()); c != 0 {
		return c, nil
	}
	return comparePrereleases(va.Prerelease(), vb.Prerelease()), nil
}

func compareNumbers(a, b []int64) int {
	for i := range max(len(a), len(b)) {
		var x, y int64
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// comparePrereleases follows SemVer 2.0.0, rule 11.
func comparePrereleases(a, b string) int {
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	}
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(as), len(bs)) {
		if c := compareIdentifiers(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}

// compareIdentifiers puts numbers before words, numbers by value, words by
// their bytes.
func compareIdentifiers(a, b string) int {
	numA, numB := isNumber(a), isNumber(b)
	switch {
	case numA && numB:
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	case numA:
		return -1
	case numB:
		return 1
	default:
		return cmp.Compare(a, b)
	}
}

func isNumber(s string) bool { return strings.Trim(s, "0123456789") == "" }
