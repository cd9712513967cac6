package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/durable"
)

// FetchFunc returns the metadata file called name ("timestamp.json",
// "3.root.json"), at most maxLength bytes of it. That there is no such file it
// says with an api.Error of CodeNotFound or with fs.ErrNotExist. What it
// returns need not be trusted.
type FetchFunc func(ctx context.Context, name string, maxLength int64) ([]byte, error)

// Verifier answers which targets the operator has signed. It keeps the newest
// metadata that it has believed in a directory of its own, so that older
// metadata is refused also after a restart. It is safe for concurrent use;
// calls take turns. No two processes may share its directory.
type Verifier struct {
	dir  string
	turn chan struct{} // holds one token; go-tuf bears no concurrency
	now  func() time.Time
}

// Open returns the verifier that keeps its state in dir, which it creates. root
// is the pinned root metadata; it is used when dir has none yet and may be nil
// afterwards; with neither, the error is ErrUnavailable. A root in dir that
// cannot be read is an error, never replaced: it may be newer than the pinned
// one. Other files that cannot be read are dropped and fetched again.
func Open(dir string, root []byte) (*Verifier, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open trusted metadata: %w", err)
	}
	if err := dropUnreadable(dir); err != nil {
		return nil, fmt.Errorf("open trusted metadata: %w", err)
	}
	if err := anchor(dir, root); err != nil {
		return nil, fmt.Errorf("open trusted metadata: %w", err)
	}
	return &Verifier{dir: dir, turn: make(chan struct{}, 1), now: time.Now}, nil
}

// UseClock makes the verifier judge expiry by now instead of the machine's
// clock. It is called before the first look-up.
func (v *Verifier) UseClock(now func() time.Time) { v.now = now }

// anchor makes sure that dir holds a root that is consistent in itself.
func anchor(dir string, pinned []byte) error {
	path := filepath.Join(dir, fileOf(metadata.ROOT))
	stored, err := os.ReadFile(path)
	switch {
	case err == nil:
		_, err = openRoot(stored)
		return err
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case pinned == nil:
		return fmt.Errorf("%w: there is no root yet and none was given", ErrUnavailable)
	}
	if _, err := openRoot(pinned); err != nil {
		return fmt.Errorf("pinned %w", err)
	}
	return durable.WriteFile(path, pinned, 0o600)
}

// dropUnreadable removes what a broken disk made of a metadata file: go-tuf
// would stumble over it for ever. A file with a bad signature may stay, go-tuf
// ignores it.
func dropUnreadable(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range files {
		role := strings.TrimSuffix(filepath.Base(path), ".json")
		if role == metadata.ROOT {
			continue
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if checkFile(role, data) == nil {
			continue
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// Target brings the metadata up to date and returns what it says of path. It
// returns one of this package's errors when any of it cannot be believed; what
// was believed before stays. It blocks for as long as fetch does, and behind
// other calls until ctx ends.
func (v *Verifier) Target(ctx context.Context, fetch FetchFunc, path string) (Target, error) {
	var t Target
	err := v.with(ctx, fetch, func(s *session) error {
		file, err := s.lookup(path)
		if err != nil {
			return err
		}
		t, err = targetOf(path, file)
		return err
	})
	if err != nil {
		return Target{}, fmt.Errorf("look up target %s: %w", path, err)
	}
	return t, nil
}

// File is Target for any TUF repository, not only ours: the custom field does
// not matter, and SHA-512 will do.
func (v *Verifier) File(ctx context.Context, fetch FetchFunc, path string) (File, error) {
	var f File
	err := v.with(ctx, fetch, func(s *session) error {
		file, err := s.lookup(path)
		if err != nil {
			return err
		}
		f, err = fileOfTarget(file)
		return err
	})
	return f, err
}

// Refresh brings the metadata up to date and looks nothing up.
func (v *Verifier) Refresh(ctx context.Context, fetch FetchFunc) error {
	return v.with(ctx, fetch, func(s *session) error {
		return guarded(func() error {
			if err := s.refresh(); err != nil {
				return s.explain(err, ErrMalformed)
			}
			return nil
		})
	})
}

// with runs one session at a time.
func (v *Verifier) with(ctx context.Context, fetch FetchFunc, f func(*session) error) error {
	select {
	case v.turn <- struct{}{}:
		defer func() { <-v.turn }()
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
	return f(&session{ctx: ctx, dir: v.dir, fetch: fetch, now: v.now().UTC()})
}
