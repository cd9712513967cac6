package dashboard

import (
	"bytes"
	"crypto/rand"
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed all:dist
var dist embed.FS

const (
	// indexFile is the one page; its scripts draw whatever the path names.
	indexFile = "index.html"
	// assetsPrefix holds files whose names carry a hash of their content.
	assetsPrefix = "assets/"
	// noncePlaceholder stands in the built page where each answer's own nonce goes.
	noncePlaceholder = "__CSP_NONCE__"
)

// embedded is the build that this binary was made with. It is read once, and
// only if somebody looks.
var embedded = sync.OnceValue(func() *site {
	root, err := fs.Sub(dist, "dist")
	if err != nil { // the embed directive above names it
		panic(err)
	}
	return load(root)
})

// Built reports whether the binary carries the pages.
func Built() bool { return embedded().index != nil }

// Handler serves the pages. Without a build it says how to make one.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { embedded().ServeHTTP(w, r) })
}

// site is one build, ready to be sent.
type site struct {
	index  []byte
	assets map[string]asset
}

// ServeHTTP implements http.Handler. A path that names no file is a place in
// the pages, so that every place has a link.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	nonce := rand.Text()
	setHeaders(w.Header(), nonce)
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	a, isAsset := s.assets[name]
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "the dashboard is only ever read", http.StatusMethodNotAllowed)
	case isAsset:
		a.serve(w, r)
	case strings.HasPrefix(name, assetsPrefix):
		http.Error(w, "there is no such file in this version: reload the page", http.StatusNotFound)
	case s.index == nil:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write([]byte(notBuilt))
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-cache")
		_, _ = w.Write(bytes.ReplaceAll(s.index, []byte(noncePlaceholder), []byte(nonce)))
	}
}

// setHeaders keeps the page to this host. Styles need a nonce because the
// component library writes a few of its own; scripts need none.
func setHeaders(h http.Header, nonce string) {
	h.Set("Content-Security-Policy", strings.Join([]string{
		"default-src 'none'", "script-src 'self'", "style-src 'self' 'nonce-" + nonce + "'",
		"img-src 'self' data:", "font-src 'self'", "connect-src 'self'",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
	}, "; "))
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
}

const notBuilt = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>RedFlag</title></head>
<body><h1>This binary was built without its dashboard</h1>
<p>With Node.js 20 or newer, run this in the source and start the node again:</p>
<pre>make dashboard build</pre>
<p>Everything else works: <code>redflag --help</code> does all that the dashboard does.</p>
</body></html>
`
