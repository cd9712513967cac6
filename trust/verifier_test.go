package trust_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata/config"
	"github.com/theupdateframework/go-tuf/v2/metadata/updater"
	"golang.org/x/sync/errgroup"

	"redflag/api"
	"redflag/trust"
	"redflag/trust/trusttest"
)

const infoHash = "0123456789abcdef0123456789abcdef01234567"

// publish signs version of an artifact called app.
func publish(r *trusttest.Repository, version string) trust.Target {
	return r.Publish("app", version, "app.tar.zst", []byte("payload of "+version), infoHash, 256<<10)
}

func open(t *testing.T, dir string, root []byte) *trust.Verifier {
	t.Helper()
	v, err := trust.Open(dir, root)
	require.NoError(t, err)
	return v
}

func TestVerifierFollowsPublications(t *testing.T) {
	r := trusttest.NewRepository(t)
	dir := t.TempDir()
	v := open(t, dir, r.Root())
	for _, version := range []string{"1.0.0", "1.1.0", "2.0.0"} {
		want := publish(r, version)
		got, err := v.Target(t.Context(), r.Fetch, want.Path)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	again := open(t, dir, nil)
	_, err := again.Target(t.Context(), r.Fetch, "app/1.0.0")
	require.NoError(t, err, "earlier versions stay signed, for a rollback")
	_, err = again.Target(t.Context(), r.Fetch, "app/3.0.0")
	require.ErrorIs(t, err, trust.ErrUnknownTarget)
}

func TestVerifierFetchesNothingTwice(t *testing.T) {
	r := trusttest.NewRepository(t)
	target := publish(r, "1.0.0")
	v := open(t, t.TempDir(), r.Root())
	var names []string
	fetch := func(ctx context.Context, name string, limit int64) ([]byte, error) {
		names = append(names, name)
		return r.Fetch(ctx, name, limit)
	}
	for range 2 {
		_, err := v.Target(t.Context(), fetch, target.Path)
		require.NoError(t, err)
	}
	require.Equal(t, []string{
		"2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json",
		"2.root.json", "timestamp.json",
	}, names)
}

func TestVerifierOpen(t *testing.T) {
	r := trusttest.NewRepository(t)
	_, err := trust.Open(t.TempDir(), nil)
	require.ErrorIs(t, err, trust.ErrUnavailable)
	_, err = trust.Open(t.TempDir(), []byte("{}"))
	require.ErrorIs(t, err, trust.ErrMalformed)
	r.Tamper("1.root.json")
	_, err = trust.Open(t.TempDir(), r.Root())
	require.ErrorIs(t, err, trust.ErrSignature)
}

func TestVerifierSurvivesABrokenDisk(t *testing.T) {
	for _, garbage := range []string{"", "{", `{"signed":{"_type":"timestamp","meta":{}},"signatures":[]}`} {
		r := trusttest.NewRepository(t)
		target := publish(r, "1.0.0")
		dir := t.TempDir()
		_, err := open(t, dir, r.Root()).Target(t.Context(), r.Fetch, target.Path)
		require.NoError(t, err)
		for _, name := range []string{"timestamp.json", "snapshot.json", "targets.json"} {
			require.FileExists(t, filepath.Join(dir, name))
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(garbage), 0o600))
		}
		_, err = open(t, dir, nil).Target(t.Context(), r.Fetch, target.Path)
		require.NoError(t, err)

		require.NoError(t, os.WriteFile(filepath.Join(dir, "root.json"), []byte(garbage), 0o600))
		_, err = trust.Open(dir, r.Root())
		require.ErrorIs(t, err, trust.ErrMalformed, "a root is never silently replaced")
	}
}

func TestVerifierFollowsDelegations(t *testing.T) {
	for _, role := range []string{"product", "team/../product"} {
		r := trusttest.NewRepository(t)
		target := trusttest.Target("app", "1.0.0", "app", []byte("x"), infoHash, 1<<18)
		r.Delegate(role, "app/*", target)
		dir := t.TempDir()
		for range 2 {
			got, err := open(t, dir, r.Root()).Target(t.Context(), r.Fetch, target.Path)
			require.NoError(t, err, role)
			require.Equal(t, target, got)
			require.FileExists(t, filepath.Join(dir, url.PathEscape(role)+".json"))
		}
	}
}

// A role that was verified for one delegator is held against the keys of the
// other again, also where it is on disk. go-tuf's own updater keeps it by its name
// alone: the same two look-ups there bring the second target in.
func TestDelegatedRoleOfAnotherDelegator(t *testing.T) {
	r := trusttest.NewRepository(t)
	first := trusttest.Target("app", "1.0.0", "app", []byte("x"), infoHash, 1<<18)
	second := trusttest.Target("kernel", "1.0.0", "kernel", []byte("evil"), infoHash, 1<<18)
	r.DelegateTwice("shared", first, second)
	dir := t.TempDir()
	v := open(t, dir, r.Root())
	for range 2 {
		got, err := v.Target(t.Context(), r.Fetch, first.Path)
		require.NoError(t, err)
		require.Equal(t, first, got)
		require.FileExists(t, filepath.Join(dir, "shared.json"))
		_, err = v.Target(t.Context(), r.Fetch, second.Path)
		require.ErrorIs(t, err, trust.ErrSignature)
		v = open(t, dir, nil)
	}

	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if data := r.File(path.Base(req.URL.Path)); data != nil {
			_, _ = w.Write(data)
			return
		}
		http.NotFound(w, req)
	}))
	defer srv.Close()
	cfg, err := config.New(srv.URL, r.Root())
	require.NoError(t, err)
	cfg.LocalMetadataDir, cfg.LocalTargetsDir = t.TempDir(), t.TempDir()
	stock, err := updater.New(cfg)
	require.NoError(t, err)
	require.NoError(t, stock.Refresh())
	_, err = stock.GetTargetInfo(first.Path)
	require.NoError(t, err)
	_, err = stock.GetTargetInfo(second.Path)
	require.NoError(t, err, "the library is mended: one updater may serve many look-ups")
}

func TestVerifierFetchFailures(t *testing.T) {
	r := trusttest.NewRepository(t)
	target := publish(r, "1.0.0")
	broken := errors.New("connection refused")
	for _, tc := range []struct {
		name string
		err  error
		want error
	}{
		{"2.root.json", broken, trust.ErrUnavailable},
		{"2.root.json", api.Errorf(api.CodeNotFound, "no such file"), nil},
		{"timestamp.json", broken, trust.ErrUnavailable},
		{"timestamp.json", api.Errorf(api.CodeNotFound, "nothing is published"), trust.ErrUnavailable},
		{"2.snapshot.json", broken, trust.ErrUnavailable},
		{"2.targets.json", broken, trust.ErrUnavailable},
		{"2.targets.json", api.Errorf(api.CodeTooLarge, "too large"), trust.ErrLength},
	} {
		v := open(t, t.TempDir(), r.Root())
		_, err := v.Target(t.Context(), func(ctx context.Context, name string, limit int64) ([]byte, error) {
			if name == tc.name {
				return nil, tc.err
			}
			return r.Fetch(ctx, name, limit)
		}, target.Path)
		require.ErrorIs(t, err, tc.want, tc.name)
		if tc.want != nil {
			require.ErrorContains(t, err, tc.name)
		}
		_, err = v.Target(t.Context(), r.Fetch, target.Path)
		require.NoError(t, err, "the next try goes on from there")
	}
}

func TestVerifierIsSafeForConcurrentUse(t *testing.T) {
	r := trusttest.NewRepository(t)
	target := publish(r, "1.0.0")
	v := open(t, t.TempDir(), r.Root())
	var g errgroup.Group
	for range 16 {
		g.Go(func() error {
			_, err := v.Target(t.Context(), r.Fetch, target.Path)
			return err
		})
	}
	publish(r, "1.1.0")
	require.NoError(t, g.Wait())
}

func TestVerifierWaitsOnlyForItsContext(t *testing.T) {
	r := trusttest.NewRepository(t)
	v := open(t, t.TempDir(), r.Root())
	entered, leave := make(chan struct{}), make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		_, err := v.Target(t.Context(), func(context.Context, string, int64) ([]byte, error) {
			close(entered)
			<-leave
			return nil, errors.New("slow")
		}, "app/1")
		return err
	})
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := v.Target(ctx, r.Fetch, "app/1")
	require.ErrorIs(t, err, context.Canceled)
	close(leave)
	require.ErrorIs(t, g.Wait(), trust.ErrUnavailable)
}

func TestTargetValidate(t *testing.T) {
	good := trusttest.Target("app", "1.0", "app.bin", []byte("x"), infoHash, 1<<18)
	require.NoError(t, good.Validate())
	for what, spoil := range map[string]func(*trust.Target){
		"path of another":     func(t *trust.Target) { t.Path = "app/2.0" },
		"name with a slash":   func(t *trust.Target) { t.Custom.Name, t.Path = "a/b", "a/b/1.0" },
		"version of words":    func(t *trust.Target) { t.Custom.Version, t.Path = "latest", "app/latest" },
		"file name with path": func(t *trust.Target) { t.Custom.FileName = "../app" },
		"no file name":        func(t *trust.Target) { t.Custom.FileName = "" },
		"short info hash":     func(t *trust.Target) { t.Custom.InfoHash = "0123" },
		"upper-case hash":     func(t *trust.Target) { t.Custom.InfoHash = strings.ToUpper(infoHash) },
		"no hash":             func(t *trust.Target) { t.SHA256 = "" },
		"empty":               func(t *trust.Target) { t.Length = 0 },
		"endless":             func(t *trust.Target) { t.Length = 1 << 60 },
		"odd pieces":          func(t *trust.Target) { t.Custom.PieceLength = 100_000 },
		"tiny pieces":         func(t *trust.Target) { t.Custom.PieceLength = 1 << 10 },
		"no pieces":           func(t *trust.Target) { t.Custom.PieceLength = 0 },
	} {
		bad := good
		spoil(&bad)
		require.ErrorIs(t, bad.Validate(), trust.ErrMalformed, what)
	}
}

// serveInstead serves r with data in the place of the file called name.
func serveInstead(r *trusttest.Repository, name string, data []byte) trust.FetchFunc {
	return func(ctx context.Context, asked string, limit int64) ([]byte, error) {
		if asked == name {
			return data, nil
		}
		return r.Fetch(ctx, asked, limit)
	}
}
