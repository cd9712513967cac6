package dashboard

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// asset is one file of the build, compressed ahead where that pays.
type asset struct {
	contentType string
	immutable   bool
	plain       []byte
	gzipped     []byte // nil where compression does not pay
}

// load reads a build. A folder without a page in it is an empty one.
func load(root fs.FS) *site {
	s := &site{assets: map[string]asset{}}
	_ = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Base(name) == ".gitkeep" {
			return err
		}
		b, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		if name == indexFile {
			s.index = b
			return nil
		}
		s.assets[name] = newAsset(name, b)
		return nil
	})
	return s
}

func newAsset(name string, b []byte) asset {
	a := asset{contentType: mime.TypeByExtension(path.Ext(name)), immutable: strings.HasPrefix(name, assetsPrefix), plain: b}
	if path.Ext(name) == ".js" { // what a host's mime table says of it varies
		a.contentType = "text/javascript; charset=utf-8"
	}
	if a.contentType == "" {
		a.contentType = "application/octet-stream"
	}
	if small := compress(b); len(small) < len(b)*9/10 {
		a.gzipped = small
	}
	return a
}

func compress(b []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil { // the level is a constant
		panic(err)
	}
	_, _ = w.Write(b) // a bytes.Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

func (a asset) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Cache-Control", "no-cache")
	if a.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	b := a.plain
	if a.gzipped != nil {
		h.Set("Vary", "Accept-Encoding")
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			h.Set("Content-Encoding", "gzip")
			b = a.gzipped
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(b)
	}
}
