package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/trust"
	"redflag/trust/trusttest"
)

const someInfoHash = "0123456789abcdef0123456789abcdef01234567"

// tufWorld is a TUF repository behind HTTP and the client that the conformance
// suite drives, called as the suite calls it.
type tufWorld struct {
	t        *testing.T
	repo     *trusttest.Repository
	url, dir string

	mu       sync.Mutex
	payloads map[string][]byte
	asked    []string
}

func newTUFWorld(t *testing.T) *tufWorld {
	t.Helper()
	w := &tufWorld{t: t, repo: trusttest.NewRepository(t), dir: t.TempDir(), payloads: map[string][]byte{}}
	for _, d := range []string{"metadata", "targets"} {
		require.NoError(t, os.Mkdir(filepath.Join(w.dir, d), 0o700))
	}
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asked = append(w.asked, r.URL.Path)
		data := w.payloads[r.URL.Path]
		if name, ok := strings.CutPrefix(r.URL.Path, "/metadata/"); ok {
			data = w.repo.File(name)
		}
		if data == nil {
			http.NotFound(rw, r)
			return
		}
		_, _ = rw.Write(data)
	}))
	t.Cleanup(srv.Close)
	w.url = srv.URL
	root := filepath.Join(w.dir, "pinned.json")
	require.NoError(t, os.WriteFile(root, w.repo.Root(), 0o600))
	require.Zero(t, w.client("init", root))
	require.Empty(t, w.requests(), "to pin a root needs no repository")
	return w
}

// client returns the exit code.
func (w *tufWorld) client(args ...string) int {
	w.t.Helper()
	err := run(w.t.Context(), append([]string{
		"tuf-client", "--metadata-url", w.url + "/metadata", "--metadata-dir", filepath.Join(w.dir, "metadata"),
		"--target-base-url", w.url + "/targets", "--target-dir", filepath.Join(w.dir, "targets"),
	}, args...))
	if err == nil {
		return 0
	}
	w.t.Log(err)
	return exitCode(err)
}

func (w *tufWorld) download(names ...string) int {
	w.t.Helper()
	var args []string
	for _, n := range names {
		args = append(args, "--target-name", n)
	}
	return w.client(append(args, "download")...)
}

func (w *tufWorld) requests() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	asked := w.asked
	w.asked = nil
	return asked
}

func (w *tufWorld) publish(version, payload string) trust.Target {
	w.t.Helper()
	target := w.repo.Publish("app", version, "app", []byte(payload), someInfoHash, 1<<18)
	w.serve(target, payload)
	return target
}

func (w *tufWorld) serve(t trust.Target, payload string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	dir, name, _ := strings.Cut(t.Path, "/")
	w.payloads["/targets/"+dir+"/"+t.SHA256+"."+name] = []byte(payload)
}

func (w *tufWorld) downloaded(path string) string {
	b, _ := os.ReadFile(filepath.Join(w.dir, "targets", strings.ReplaceAll(path, "/", "%2F")))
	return string(b)
}

func TestTUFClientDownloads(t *testing.T) {
	w := newTUFWorld(t)
	target := w.publish("1.0.0", "one")
	require.Equal(t, 1, w.download("app/9.9.9"), "nobody signed it")
	require.Zero(t, w.download(target.Path))
	require.Equal(t, "one", w.downloaded(target.Path))
	w.requests()
	require.Zero(t, w.download(target.Path))
	require.Equal(t, []string{"/metadata/2.root.json", "/metadata/timestamp.json"}, w.requests(), "what is here is not fetched again")

	spoilt := w.publish("2.0.0", "two")
	w.serve(spoilt, "too")
	require.Equal(t, 1, w.download(spoilt.Path), "wrong hash")
	w.serve(spoilt, "two and more")
	require.Equal(t, 1, w.download(spoilt.Path), "too long")
	require.Empty(t, w.downloaded(spoilt.Path))
	require.Equal(t, 1, w.download(target.Path, spoilt.Path), "one of two is not enough")
	w.serve(spoilt, "two")
	require.Zero(t, w.download(target.Path, spoilt.Path))
	require.Equal(t, "two", w.downloaded(spoilt.Path))
}

func TestTUFClientRefusesOldAndForgedMetadata(t *testing.T) {
	w := newTUFWorld(t)
	w.publish("1.0.0", "one")
	require.Zero(t, w.client("refresh"))
	trusted := filepath.Join(w.dir, "metadata", "timestamp.json")
	before, err := os.ReadFile(trusted)
	require.NoError(t, err)

	w.repo.RollBackTo(1)
	require.Equal(t, 1, w.client("refresh"), "rollback")
	w.publish("2.0.0", "two")
	w.repo.Tamper("timestamp.json")
	require.Equal(t, 1, w.client("refresh"), "forged")
	after, err := os.ReadFile(trusted)
	require.NoError(t, err)
	require.Equal(t, before, after, "what was believed stays")

	w.repo.RotateRoot(true)
	w.publish("3.0.0", "three")
	require.Zero(t, w.client("refresh"), "an honest repository is believed again, under its new root")
	trusttest.SignOnline(w.repo, "timestamp.json", func(s *metadata.TimestampType) {
		s.Version++
		s.Expires = time.Now().Add(-time.Hour)
	})
	require.Equal(t, 1, w.client("refresh"), "expired")
}

// Two names in one call share a verifier. The second is looked up in a role that
// the first has brought in, and that another delegator does not vouch for.
func TestTUFClientChecksACachedRoleAgain(t *testing.T) {
	w := newTUFWorld(t)
	first := trusttest.Target("app", "1.0.0", "app", []byte("x"), someInfoHash, 1<<18)
	second := trusttest.Target("kernel", "1.0.0", "kernel", []byte("evil"), someInfoHash, 1<<18)
	w.repo.DelegateTwice("shared", first, second)
	w.serve(first, "x")
	w.serve(second, "evil")
	require.Equal(t, 1, w.download(first.Path, second.Path))
	require.Equal(t, "x", w.downloaded(first.Path))
	require.Empty(t, w.downloaded(second.Path))
}

// The clock of the suite is the one that date prints.
func TestTUFClientFollowsDate(t *testing.T) {
	w := newTUFWorld(t)
	w.publish("1.0.0", "one")
	bin := filepath.Join(w.dir, "bin")
	require.NoError(t, os.Mkdir(bin, 0o700))
	script := fmt.Sprintf("#!/bin/sh\necho %d\n", time.Now().Add(9*24*time.Hour).Unix())
	require.NoError(t, os.WriteFile(filepath.Join(bin, "date"), []byte(script), 0o700))
	t.Setenv("PATH", bin)
	require.Zero(t, w.client("refresh"))
	t.Setenv("REDFLAG_TEST_DATE", "1")
	require.Equal(t, 1, w.client("refresh"), "the snapshot has expired by then")
}
