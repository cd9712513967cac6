package publish

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"

	"redflag/api"
	"redflag/trust"
)

// A bundle is a tar of signed metadata and payloads, on its way on a disk to a
// cluster that no network leads to:
//
//	metadata/1.root.json, metadata/2.root.json, …   every root, in order
//	metadata/targets.json                           the targets in force
//	metadata/roles/NAME.json                        of each role that they delegate to
//	payloads/NAME/VERSION                           any of what they name
//
// Nothing in it is secret, and nothing is believed but what the first root, whose
// hash the importer knows from elsewhere, leads to.
const (
	bundleRoots    = "metadata/"
	bundleTargets  = "metadata/targets.json"
	bundleRoles    = "metadata/roles/"
	bundlePayloads = "payloads/"
	// maxBundleRoots is how many roots an agent would follow.
	maxBundleRoots = 256
)

// ErrBundle says that a bundle is damaged or not one.
var ErrBundle = errors.New("the bundle is not usable")

func badBundle(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBundle, fmt.Sprintf(format, args...))
}

// bundleReader reads a bundle once, from front to back, and holds no payload in
// memory.
type bundleReader struct {
	tar     *tar.Reader
	now     time.Time
	root    []byte
	count   int // of roots
	targets []byte
	roles   int // how many were read
	named   map[string]trust.Target
}

// openBundle reads the metadata. pin is the hash of the first root. Targets that
// have expired are refused: who renews them vouches for them once more.
func openBundle(r io.Reader, pin string, now time.Time) (*bundleReader, error) {
	b := &bundleReader{tar: tar.NewReader(r), now: now}
	for {
		h, err := b.next()
		if err != nil {
			return nil, err
		}
		if h.Name == bundleTargets {
			return b, b.readTargets(h)
		}
		if err := b.readRoot(h, pin); err != nil {
			return nil, err
		}
	}
}

func (b *bundleReader) next() (*tar.Header, error) {
	h, err := b.tar.Next()
	if errors.Is(err, io.EOF) {
		return nil, badBundle("it ends early")
	}
	if err != nil {
		return nil, badBundle("%v", err)
	}
	if h.Typeflag != tar.TypeReg {
		return nil, badBundle("%.100q is no file", h.Name)
	}
	return h, nil
}

// small reads a metadata file.
func (b *bundleReader) small(h *tar.Header, limit int64) ([]byte, error) {
	if h.Size > limit {
		return nil, badBundle("%.100q has %d bytes, more than %d", h.Name, h.Size, limit)
	}
	data, err := io.ReadAll(io.LimitReader(b.tar, limit))
	if err != nil {
		return nil, badBundle("%v", err)
	}
	return data, nil
}

func (b *bundleReader) readRoot(h *tar.Header, pin string) error {
	if want := bundleRoots + strconv.Itoa(b.count+1) + ".root.json"; h.Name != want || b.count == maxBundleRoots {
		return badBundle("%.100q stands where %s should", h.Name, want)
	}
	next, err := b.small(h, trust.MaxRootLength)
	if err != nil {
		return err
	}
	if b.root == nil && trust.RootHash(next) != pin {
		return api.Errorf(api.CodeDenied, "the bundle's first root has hash %s, not %.100s", trust.RootHash(next), pin).
			WithHint("redflag keys status shows the hash where the bundle was made; if it still differs, do not trust the bundle")
	}
	if err := trust.CheckRootUpdate(b.root, next); err != nil {
		return badBundle("%v", err)
	}
	b.root, b.count = next, b.count+1
	return nil
}

func (b *bundleReader) readTargets(h *tar.Header) error {
	if b.root == nil {
		return badBundle("it has no root")
	}
	data, err := b.small(h, trust.MaxTargetsLength)
	if err != nil {
		return err
	}
	summary, err := trust.CheckTargets(b.root, data, b.now)
	if err != nil {
		return badBundle("%v", err)
	}
	b.targets, b.named = data, summary.Targets
	return nil
}

// readRole reads the file of a delegated role, which comes before any payload.
func (b *bundleReader) readRole(h *tar.Header) error {
	if b.roles++; b.roles > trust.MaxDelegations {
		return badBundle("it has more than %d roles", trust.MaxDelegations)
	}
	data, err := b.small(h, trust.MaxTargetsLength)
	if err != nil {
		return err
	}
	role := strings.TrimSuffix(strings.TrimPrefix(h.Name, bundleRoles), ".json")
	summary, err := trust.CheckDelegated(b.targets, role, data, b.now)
	if err != nil {
		return badBundle("%v", err)
	}
	addTargets(b.named, summary.Targets)
	return nil
}

// payload returns the next payload's signed target and its bytes, which nobody
// has checked yet, and io.EOF after the last.
func (b *bundleReader) payload() (trust.Target, io.Reader, error) {
	h, err := b.tar.Next()
	for ; err == nil && strings.HasPrefix(h.Name, bundleRoles); h, err = b.tar.Next() {
		if err := b.readRole(h); err != nil {
			return trust.Target{}, nil, err
		}
	}
	if errors.Is(err, io.EOF) {
		return trust.Target{}, nil, io.EOF
	}
	if err != nil {
		return trust.Target{}, nil, badBundle("%v", err)
	}
	name, ok := strings.CutPrefix(h.Name, bundlePayloads)
	t, signed := b.named[name]
	switch {
	case !ok || h.Typeflag != tar.TypeReg || path.Clean(h.Name) != h.Name:
		return t, nil, badBundle("%.100q is no payload", h.Name)
	case !signed:
		return t, nil, badBundle("%.100q is not signed", name)
	case h.Size != t.Length:
		return t, nil, badBundle("%s has %d bytes, %d were signed", name, h.Size, t.Length)
	}
	delete(b.named, name) // each once
	return t, b.tar, nil
}
