package trust

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"

	"redflag/api"
	"redflag/durable"
)

// remote is the address that go-tuf puts in front of the names it asks for.
const remote = "repository/"

// Bounds of one refresh.
const (
	maxRootRotations = 256
	maxDelegations   = 32
)

// session is one look-up with an updater of its own: go-tuf refreshes once per
// updater, and keeps a delegated role by its name alone, whoever delegated to
// it. It stands between go-tuf and both the fetcher and the disk. go-tuf reads
// its state from dir but does not write there, because it does not sync.
type session struct {
	ctx   context.Context // of the one call; go-tuf's fetcher takes none
	dir   string
	fetch FetchFunc
	now   time.Time

	up      *updater.Updater
	last    string // the file that go-tuf is looking at
	pending *download
}

// download is a file that go-tuf has not yet believed.
type download struct {
	role   string
	data   []byte
	before any // what go-tuf held for the role
}

// lookup refreshes the metadata and returns what it says of path.
func (s *session) lookup(path string) (file *metadata.TargetFiles, err error) {
	err = guarded(func() error {
		if err := s.refresh(); err != nil {
			return s.explain(err, ErrMalformed)
		}
		// Every file is well-formed by now: an error without a name is go-tuf's
		// way to say that nobody signed the path.
		file, err = s.up.GetTargetInfo(path)
		if err = s.explain(err, ErrUnknownTarget); err != nil && !errors.Is(err, ErrUnknownTarget) {
			return err
		}
		// The last delegated role may be believed and yet not name the path.
		return errors.Join(err, s.settle())
	})
	return file, err
}

func (s *session) refresh() error {
	root, err := os.ReadFile(filepath.Join(s.dir, fileOf(metadata.ROOT)))
	if err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	s.up, err = updater.New(&config.UpdaterConfig{
		MaxRootRotations:   maxRootRotations,
		MaxDelegations:     maxDelegations,
		RootMaxLength:      MaxRootLength,
		TimestampMaxLength: MaxTimestampLength,
		SnapshotMaxLength:  MaxSnapshotLength,
		TargetsMaxLength:   MaxTargetsLength,
		Fetcher:            s,
		LocalTrustedRoot:   root,
		LocalMetadataDir:   s.dir,
		RemoteMetadataURL:  remote,
		DisableLocalCache:  true, // of writes only: settle does them
	})
	if err != nil {
		return err
	}
	s.up.UnsafeSetRefTime(s.now)
	if err := s.up.Refresh(); err != nil {
		return err
	}
	return s.settle()
}

func (s *session) explain(err, otherwise error) error {
	if err = classify(err, otherwise); err == nil {
		return nil
	}
	if s.last == "" || errors.Is(err, ErrUnknownTarget) {
		return err
	}
	return fmt.Errorf("check %s: %w", s.last, err)
}

// DownloadFile implements go-tuf's fetcher.
func (s *session) DownloadFile(address string, maxLength int64, _ time.Duration) ([]byte, error) {
	if err := s.settle(); err != nil {
		return nil, err
	}
	s.last = strings.TrimPrefix(address, remote)
	role, err := url.PathUnescape(roleOf(s.last))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	// A length that metadata names does not lift the limit.
	limit := max(0, min(maxLength, maxLengthOf(role)))
	data, err := s.fetch(s.ctx, s.last, limit)
	if err != nil {
		return nil, s.fetchError(role, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrLength, limit)
	}
	if err := checkFile(role, data); err != nil {
		return nil, err
	}
	s.pending = &download{role: role, data: data, before: s.held(role)}
	return data, nil
}

func (s *session) fetchError(role string, err error) error {
	switch code := api.CodeOf(err); {
	case role == metadata.ROOT && (code == api.CodeNotFound || errors.Is(err, fs.ErrNotExist)):
		// This is how go-tuf learns that it has the newest root.
		return &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: s.last}
	case code == api.CodeTooLarge:
		return fmt.Errorf("%w: %w", ErrLength, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
}

// held returns what go-tuf believes of a role at this moment. It is another
// pointer once go-tuf has believed another file.
func (s *session) held(role string) any {
	set := s.up.GetTrustedMetadataSet()
	switch role {
	case metadata.ROOT:
		return set.Root
	case metadata.TIMESTAMP:
		return set.Timestamp
	case metadata.SNAPSHOT:
		return set.Snapshot
	default:
		return set.Targets[role]
	}
}

// settle stores the last download if go-tuf has believed it. It is called
// before the next download and after a success, never after a refusal, so that
// files reach the disk in the order root, timestamp, snapshot, targets: go-tuf
// can go on from there after any of them.
func (s *session) settle() error {
	p := s.pending
	s.pending = nil
	if p == nil || s.held(p.role) == p.before {
		return nil
	}
	if err := durable.WriteFile(filepath.Join(s.dir, fileOf(p.role)), p.data, 0o600); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	return nil
}

// fileOf returns the name of a role's file on disk. The name of a delegated
// role is its delegator's choice and may hold anything.
func fileOf(role string) string { return url.PathEscape(role) + ".json" }
