package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"redflag/api"
	"redflag/durable"
	"redflag/trust"
)

// signatures answers what the operator has signed. It starts from the root
// whose hash was pinned at enrolment, and from nothing that a node says.
type signatures struct {
	dir   string // the verifier's
	pin   string // path of the file that holds the hash of the root
	fetch trust.FetchFunc
	clock func() time.Time // nil for the machine's

	mu       sync.Mutex
	verifier *trust.Verifier
}

func newSignatures(dataDir string, fetch trust.FetchFunc) *signatures {
	return &signatures{
		dir:   filepath.Join(dataDir, "trust"),
		pin:   filepath.Join(dataDir, "root.sha256"),
		fetch: fetch,
	}
}

// target returns the signed target at path.
func (s *signatures) target(ctx context.Context, path string) (trust.Target, error) {
	v, err := s.open(ctx)
	if err != nil {
		return trust.Target{}, err
	}
	return v.Target(ctx, s.fetch, path)
}

func (s *signatures) open(ctx context.Context) (*trust.Verifier, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verifier != nil {
		return s.verifier, nil
	}
	v, err := trust.Open(s.dir, nil)
	if errors.Is(err, trust.ErrUnavailable) { // the cluster had no root when this machine enrolled
		var root []byte
		if root, err = s.pinnedRoot(ctx); err != nil {
			return nil, err
		}
		v, err = trust.Open(s.dir, root)
	}
	if err != nil {
		return nil, err
	}
	if s.clock != nil {
		v.UseClock(s.clock)
	}
	s.verifier = v
	return v, nil
}

// pinnedRoot fetches the first root, and believes it only if it has the
// pinned hash.
func (s *signatures) pinnedRoot(ctx context.Context) ([]byte, error) {
	pin, err := os.ReadFile(s.pin)
	if err != nil {
		return nil, api.Failf(api.ErrorVerify, "no trusted root; enrol again with a token that carries one: %w", err)
	}
	root, err := s.fetch(ctx, "1.root.json", trust.MaxRootLength)
	switch api.CodeOf(err) {
	case "":
	case api.CodeNotFound:
		return nil, api.Failf(api.ErrorVerify, "no trusted root; the cluster has none yet: %w", err)
	default:
		return nil, fmt.Errorf("fetch root: %w: %w", trust.ErrUnavailable, err)
	}
	if got := trust.RootHash(root); got != strings.TrimSpace(string(pin)) {
		return nil, api.Failf(api.ErrorVerify, "no trusted root; the cluster's has hash %s, %s was pinned", got, pin)
	}
	return root, nil
}

// pinRoot keeps the hash that the root must have, and the root itself where
// it is known already.
func (s *signatures) pinRoot(hash string, root []byte) error {
	// Whatever a broken-off enrolment left was pinned by another token.
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("clear trusted metadata: %w", err)
	}
	if root != nil {
		if _, err := trust.Open(s.dir, root); err != nil {
			return err
		}
	}
	return durable.WriteFile(s.pin, []byte(hash+"\n"), 0o600)
}
