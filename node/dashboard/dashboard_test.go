package dashboard

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

// maxFirstLoad bounds the scripts that the first page needs, gzipped, in bytes.
const maxFirstLoad = 260 << 10

// answer is what a browser got.
type answer struct {
	status int
	header http.Header
	body   string
}

func get(t *testing.T, h http.Handler, path string, header ...string) answer {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func built() *site {
	return load(fstest.MapFS{
		"index.html":       {Data: []byte(`<meta property="csp-nonce" nonce="__CSP_NONCE__">`)},
		"assets/app-1a.js": {Data: []byte(strings.Repeat("let x = 1;\n", 1000))},
		".gitkeep":         {},
	})
}

// TestPlacesAreLinks: whatever path an operator opens, the page comes, with a
// nonce of its own in the page and in the policy.
func TestPlacesAreLinks(t *testing.T) {
	seen := map[string]bool{}
	for _, path := range []string{"/", "/agents/kiosk-17", "/rollouts?state=running", "/../x"} {
		res := get(t, built(), path)
		require.Equal(t, http.StatusOK, res.status, path)
		require.Equal(t, "no-cache", res.header.Get("Cache-Control"))
		nonce := regexp.MustCompile(`nonce="([A-Z0-9]{20,})"`).FindStringSubmatch(res.body)
		require.Len(t, nonce, 2, path)
		require.Contains(t, res.header.Get("Content-Security-Policy"), "'nonce-"+nonce[1]+"'")
		require.False(t, seen[nonce[1]], "a nonce is used once")
		seen[nonce[1]] = true
	}
}

func TestAssetsAreForEver(t *testing.T) {
	res := get(t, built(), "/assets/app-1a.js", "Accept-Encoding", "br, gzip")
	require.Contains(t, res.header.Get("Cache-Control"), "immutable")
	require.Equal(t, "gzip", res.header.Get("Content-Encoding"))
	zr, err := gzip.NewReader(strings.NewReader(res.body))
	require.NoError(t, err)
	unzipped, err := io.ReadAll(zr)
	require.NoError(t, err)
	plain := get(t, built(), "/assets/app-1a.js")
	require.Empty(t, plain.header.Get("Content-Encoding"))
	require.Equal(t, plain.body, string(unzipped))

	gone := get(t, built(), "/assets/app-0f.js")
	require.Equal(t, http.StatusNotFound, gone.status)
	require.NotContains(t, gone.header.Get("Cache-Control"), "immutable")
}

func TestOnlyRead(t *testing.T) {
	w := httptest.NewRecorder()
	built().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

// TestWithoutBuild: go build needs no Node.js, and the binary says what to do.
func TestWithoutBuild(t *testing.T) {
	res := get(t, load(fstest.MapFS{".gitkeep": {}}), "/agents")
	require.Equal(t, http.StatusServiceUnavailable, res.status)
	require.Contains(t, res.body, "make dashboard build")
}

// TestFirstLoadIsSmall weighs what a browser fetches before it draws anything.
func TestFirstLoadIsSmall(t *testing.T) {
	if !Built() {
		t.Skip("the dashboard is not built: run make dashboard")
	}
	s := embedded()
	total := 0
	first := regexp.MustCompile(`(?:src|href)="/(assets/[^"]+\.js)"`).FindAllSubmatch(s.index, -1)
	require.NotEmpty(t, first)
	for _, m := range first {
		a, ok := s.assets[string(m[1])]
		require.True(t, ok, "%s", m[1])
		require.NotEmpty(t, a.gzipped)
		total += len(a.gzipped)
	}
	t.Logf("first load: %d KiB of gzipped scripts in %d files", total>>10, len(first))
	require.Less(t, total, maxFirstLoad)
	require.NotContains(t, string(s.index), "<style", "the policy would refuse it")
}

// TestBuildIsSelfContained: no file of the build names another host to load from.
func TestBuildIsSelfContained(t *testing.T) {
	if !Built() {
		t.Skip("the dashboard is not built: run make dashboard")
	}
	root, err := fs.Sub(dist, "dist")
	require.NoError(t, err)
	outside := regexp.MustCompile(`(?:src|href)="(?:https?:)?//|url\(["']?(?:https?:)?//|@import`)
	require.NoError(t, fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || (!strings.HasSuffix(name, ".html") && !strings.HasSuffix(name, ".css")) {
			return err
		}
		b, err := fs.ReadFile(root, name)
		require.NotRegexp(t, outside, string(b), name)
		return err
	}))
}
