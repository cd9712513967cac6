package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/agent/install"
	"redflag/api"
	"redflag/p2p"
	"redflag/trust"
	"redflag/trust/trusttest"
)

// shelf is a swarm and a signer without a network: it has what is put on it,
// and fails as it is told to.
type shelf struct {
	mu        sync.Mutex
	signed    map[string]trust.Target
	content   map[string][]byte // by info hash
	have      map[string]bool   // fetched
	fetches   int
	onTarget  func() error
	onFetch   func(ctx context.Context, progress func(api.Transfer)) error
	readError error
}

func newShelf() *shelf {
	return &shelf{signed: map[string]trust.Target{}, content: map[string][]byte{}, have: map[string]bool{}}
}

func (s *shelf) add(version string) {
	content := []byte("payload " + version)
	t := trusttest.Target("app", version, "app.bin", content, "info of "+version, 1<<18)
	s.signed[t.Path], s.content[t.Custom.InfoHash] = t, content
}

func (s *shelf) target(_ context.Context, path string) (trust.Target, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onTarget != nil {
		if err := s.onTarget(); err != nil {
			return trust.Target{}, err
		}
	}
	t, ok := s.signed[path]
	if !ok {
		return t, trust.ErrUnknownTarget
	}
	return t, nil
}

func (s *shelf) fetch(ctx context.Context, t trust.Target, progress func(api.Transfer)) (api.Transfer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.have[t.Custom.InfoHash] {
		return api.Transfer{Total: t.Length, Done: t.Length}, nil
	}
	s.fetches++
	if s.onFetch != nil {
		if err := s.onFetch(ctx, progress); err != nil {
			return api.Transfer{FromPeers: 1}, err
		}
	}
	s.have[t.Custom.InfoHash] = true
	return api.Transfer{FromPeers: t.Length, Total: t.Length, Done: t.Length}, nil
}

func (s *shelf) open(infoHash string) (io.ReadCloser, error) {
	if s.readError != nil {
		return nil, s.readError
	}
	return io.NopCloser(bytes.NewReader(s.content[infoHash])), nil
}

func (s *shelf) remove(infoHash string) error {
	delete(s.have, infoHash)
	return nil
}

func (s *shelf) retain(keep []string) error {
	for hash := range s.have {
		if len(keep) != 1 || keep[0] != hash {
			delete(s.have, hash)
		}
	}
	return nil
}

// machine is a data directory with an executor on it.
type machine struct {
	t     *testing.T
	dir   string
	shelf *shelf
	*executor
}

func testStore(t *testing.T, dir string) *install.Store {
	t.Helper()
	s, err := install.OpenStore(dir)
	require.NoError(t, err)
	return s
}

// running reads what a service of this machine would run.
func running(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "app", "current", "app.bin"))
	require.NoError(t, err)
	return string(b)
}

func names(t *testing.T, dir string) (all []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func newMachine(t *testing.T, versions ...string) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), shelf: newShelf()}
	for _, v := range versions {
		m.shelf.add(v)
	}
	m.boot()
	return m
}

// boot opens the directory again, as after a crash.
func (m *machine) boot() {
	m.t.Helper()
	if m.executor != nil {
		require.NoError(m.t, m.journal.close())
	}
	j := testJournal(m.t, filepath.Join(m.dir, "journal.db"))
	m.executor = newExecutor(j, testStore(m.t, filepath.Join(m.dir, "artifacts")), m.shelf, m.shelf, hclog.NewNullLogger(), func() {})
	m.retryBase = time.Millisecond
	m.lagPatience = 20 * time.Millisecond
}

func (m *machine) order(kind api.Kind, version string) {
	m.t.Helper()
	cmd := command(len(outbox(m.t, m.journal)) + 100)
	cmd.Kind, cmd.Version = kind, version
	accept(m.t, m.journal, cmd)
}

// work runs until no command is left, and returns the last report.
func (m *machine) work() api.Report {
	m.t.Helper()
	for e := next(m.t, m.journal); e != nil; e = next(m.t, m.journal) {
		require.NoError(m.t, m.execute(m.t.Context(), e))
	}
	reports := outbox(m.t, m.journal)
	return reports[len(reports)-1]
}

func (m *machine) install(version string) api.Report {
	m.t.Helper()
	m.order(api.KindInstall, version)
	return m.work()
}

func TestFailureClasses(t *testing.T) {
	full := fmt.Errorf("write: %w", syscall.ENOSPC)
	for name, tc := range map[string]struct {
		spoil func(*shelf)
		want  api.ErrorClass
	}{
		"bad signature":    {func(s *shelf) { s.onTarget = func() error { return trust.ErrSignature } }, api.ErrorVerify},
		"unknown target":   {func(s *shelf) { delete(s.signed, "app/2.0") }, api.ErrorVerify},
		"no node":          {func(s *shelf) { s.onTarget = func() error { return trust.ErrUnavailable } }, api.ErrorNetwork},
		"full store":       {func(s *shelf) { s.onFetch = failing(fmt.Errorf("%w: %w", p2p.ErrDisk, full)) }, api.ErrorDisk},
		"no peers":         {func(s *shelf) { s.onFetch = failing(errors.New("peers went away")) }, api.ErrorNetwork},
		"other info":       {func(s *shelf) { s.onFetch = failing(p2p.ErrInfoMismatch) }, api.ErrorVerify},
		"full disk":        {func(s *shelf) { s.readError = full }, api.ErrorDisk},
		"unreadable store": {func(s *shelf) { s.readError = syscall.EIO }, api.ErrorInstall},
		"wrong bytes":      {func(s *shelf) { s.content["info of 2.0"] = []byte("payload 2.1") }, api.ErrorVerify},
		"longer":           {func(s *shelf) { s.content["info of 2.0"] = []byte("payload 2.0 and more") }, api.ErrorVerify},
		"target of another version": {func(s *shelf) {
			s.signed["app/2.0"] = s.signed["app/1.0"]
		}, api.ErrorVerify},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, "1.0", "2.0")
			m.patience = 50 * time.Millisecond
			require.Equal(t, api.StateSucceeded, m.install("1.0").State)
			tc.spoil(m.shelf)
			r := m.install("2.0")
			require.Equal(t, api.StateFailed, r.State)
			require.Equal(t, tc.want, r.Failure.Class, r.Failure.Message)
			require.Equal(t, "payload 1.0", running(t, m.versions.Dir))
			require.Equal(t, []string{"current", "versions"}, names(t, filepath.Join(m.dir, "artifacts", "app")))
			activity, _ := m.activity()
			require.Equal(t, api.ActivityFailing, activity)
		})
	}
}

func failing(err error) func(context.Context, func(api.Transfer)) error {
	return func(context.Context, func(api.Transfer)) error { return err }
}

func TestSameVersionWithOtherContentIsRefused(t *testing.T) {
	m := newMachine(t, "1.0")
	require.Equal(t, api.StateSucceeded, m.install("1.0").State)
	m.shelf.signed["app/1.0"] = trusttest.Target("app", "1.0", "app.bin", []byte("other"), "other info", 1<<18)
	r := m.install("1.0")
	require.Equal(t, api.ErrorVerify, r.Failure.Class)
	require.Equal(t, "payload 1.0", running(t, m.versions.Dir))
}

func TestInterruptedDownloadGoesOn(t *testing.T) {
	m := newMachine(t, "1.0")
	tries := 0
	m.shelf.onFetch = func(context.Context, func(api.Transfer)) error {
		if tries++; tries < 5 {
			return errors.New("peers went away")
		}
		return nil
	}
	r := m.install("1.0")
	require.Equal(t, api.StateSucceeded, r.State)
	require.Equal(t, int64(4+len("payload 1.0")), r.Transfer.FromPeers, "the bytes of all attempts")
}

func TestStalledDownloadFails(t *testing.T) {
	m := newMachine(t, "1.0")
	m.patience = 50 * time.Millisecond
	m.shelf.onFetch = func(ctx context.Context, progress func(api.Transfer)) error {
		progress(api.Transfer{Total: 10})
		<-ctx.Done()
		return ctx.Err()
	}
	r := m.install("1.0")
	require.Equal(t, api.ErrorNetwork, r.Failure.Class)
	require.Contains(t, r.Failure.Message, "nothing came for 50ms")
}

func TestShutdownLeavesTheCommandHeld(t *testing.T) {
	m := newMachine(t, "1.0")
	m.order(api.KindInstall, "1.0")
	ctx, cancel := context.WithCancel(t.Context())
	m.shelf.onFetch = func(ctx context.Context, progress func(api.Transfer)) error {
		progress(api.Transfer{Total: 11, Done: 5})
		activity, doing := m.activity()
		require.Equal(t, api.ActivityDownloading, activity)
		require.Equal(t, int64(5), doing[0].Transfer.Done)
		cancel()
		<-ctx.Done()
		return ctx.Err()
	}
	require.NoError(t, m.run(ctx))
	m.boot()
	m.shelf.onFetch = nil
	require.Equal(t, api.StateRunning, next(t, m.journal).State)
	require.Equal(t, api.StateSucceeded, m.work().State)
}
