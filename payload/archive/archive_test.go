package archive

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

// good is an archive with everything that is allowed.
var good = []tar.Header{
	{Name: "./", Typeflag: tar.TypeDir, Mode: 0o755},
	{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
	{Name: "bin/app", Typeflag: tar.TypeReg, Mode: 0o4755, Linkname: "run"},
	{Name: "etc/deep/app.conf", Typeflag: tar.TypeReg, Mode: 0o644, Linkname: "conf"},
	{Name: "bin/also", Typeflag: tar.TypeLink, Linkname: "bin/app"},
	{Name: "etc/deep/up", Typeflag: tar.TypeSymlink, Linkname: "../../bin/app"},
}

// makeTar takes the content of a file from its unused Linkname.
func makeTar(tb testing.TB, headers []tar.Header) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
		}
		require.NoError(tb, w.WriteHeader(&h))
		_, err := io.WriteString(w, content)
		require.NoError(tb, err)
	}
	require.NoError(tb, w.Close())
	return b.Bytes()
}

func makeZip(tb testing.TB, headers []tar.Header) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeLink || h.Name == "./" {
			continue
		}
		z := &zip.FileHeader{Name: h.Name, Method: zip.Deflate}
		z.SetMode(h.FileInfo().Mode())
		f, err := w.CreateHeader(z)
		require.NoError(tb, err)
		if h.Typeflag != tar.TypeDir {
			_, err = io.WriteString(f, h.Linkname)
			require.NoError(tb, err)
		}
	}
	require.NoError(tb, w.Close())
	return b.Bytes()
}

func gzipped(tb testing.TB, b []byte) []byte {
	tb.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(b)
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	return out.Bytes()
}

func zstandard(tb testing.TB, b []byte) []byte {
	tb.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(tb, err)
	return w.EncodeAll(b, nil)
}

func write(tb testing.TB, b []byte) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "archive")
	require.NoError(tb, os.WriteFile(path, b, 0o600))
	return path
}

func TestUnpackEveryFormat(t *testing.T) {
	plain := makeTar(t, good)
	for format, b := range map[string][]byte{
		"tar": plain, "tar.gz": gzipped(t, plain), "tar.zst": zstandard(t, plain), "zip": makeZip(t, good),
	} {
		t.Run(format, func(t *testing.T) {
			path, dir := write(t, b), t.TempDir()
			size, err := Measure(path)
			require.NoError(t, err)
			require.Equal(t, int64(len("run"+"conf")), size.Bytes)
			require.NoError(t, Unpack(path, dir, size, "reserved"))
			for name, want := range map[string]string{"bin/app": "run", "etc/deep/app.conf": "conf", "etc/deep/up": "run"} {
				got, err := os.ReadFile(filepath.Join(dir, name))
				require.NoError(t, err)
				require.Equal(t, want, string(got))
			}
			info, err := os.Stat(filepath.Join(dir, "bin/app"))
			require.NoError(t, err)
			require.Equal(t, fs.FileMode(0o755), info.Mode(), "executable, and no set-id bit")
			if format != "zip" {
				got, err := os.ReadFile(filepath.Join(dir, "bin/also"))
				require.NoError(t, err)
				require.Equal(t, "run", string(got))
			}
			require.ErrorIs(t, Unpack(path, t.TempDir(), Limits{Bytes: size.Bytes - 1, Files: size.Files}), ErrTooLarge)
			require.ErrorIs(t, Unpack(path, t.TempDir(), Limits{Bytes: size.Bytes, Files: size.Files - 1}), ErrTooLarge)
		})
	}
}

func TestHostileArchives(t *testing.T) {
	file := func(name string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Linkname: "evil"}
	}
	link := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
	}
	for name, headers := range map[string][]tar.Header{
		"up":                   {file("../evil")},
		"up in the middle":     {file("a/../../evil")},
		"absolute":             {file("/evil")},
		"backslash":            {file(`..\evil`)},
		"reserved":             {file("reserved")},
		"reserved, disguised":  {file("./a/../reserved")},
		"reserved as a folder": {file("reserved/x")},
		"twice":                {file("a"), file("a")},
		"file over folder":     {file("a/b"), file("a")},
		"behind a file":        {file("a"), file("a/b")},
		"link out":             {link("a", "../evil")},
		"link absolute":        {link("a", "/etc")},
		"link through a link":  {link("dot", "."), link("a", "dot/../../evil")},
		"behind a link":        {{Name: "d", Typeflag: tar.TypeDir, Mode: 0o755}, link("a", "d"), file("a/evil")},
		"link empty":           {link("a", "")},
		"hard link out":        {{Name: "a", Typeflag: tar.TypeLink, Linkname: "../outside"}},
		"hard link absolute":   {{Name: "a", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}},
		"hard link to a link":  {link("a", "b"), {Name: "c", Typeflag: tar.TypeLink, Linkname: "a"}},
		"device":               {{Name: "a", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}},
		"block device":         {{Name: "a", Typeflag: tar.TypeBlock}},
		"pipe":                 {{Name: "a", Typeflag: tar.TypeFifo}},
	} {
		t.Run(name, func(t *testing.T) {
			box := t.TempDir()
			dir := filepath.Join(box, "in")
			require.NoError(t, os.Mkdir(dir, 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(box, "outside"), nil, 0o600))
			path := write(t, makeTar(t, headers))
			require.ErrorIs(t, Unpack(path, dir, Limits{Bytes: 1 << 20, Files: 100}, "reserved"), ErrUnsafe)
			entries, err := os.ReadDir(box)
			require.NoError(t, err)
			require.Len(t, entries, 2, "nothing was written outside")
			if !strings.HasPrefix(name, "reserved") {
				_, err := Measure(path)
				require.ErrorIs(t, err, ErrUnsafe, "the operator hears of it before it is signed")
			}
		})
	}
}

// TestBombsAreBounded unpacks a gigabyte that is declared to be a kilobyte.
func TestBombsAreBounded(t *testing.T) {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b)
	require.NoError(t, err)
	w := tar.NewWriter(z)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Mode: 0o644, Size: 1 << 30}))
	chunk := make([]byte, 1<<20)
	for range 1 << 10 {
		_, err := w.Write(chunk)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, z.Close())
	dir := t.TempDir()
	require.Less(t, b.Len(), 1<<20)
	require.ErrorIs(t, Unpack(write(t, b.Bytes()), dir, Limits{Bytes: 1 << 10, Files: 1}), ErrTooLarge)
	info, err := os.Stat(filepath.Join(dir, "zeros"))
	require.NoError(t, err)
	require.LessOrEqual(t, info.Size(), int64(1<<10+1))
}

func TestNotAnArchive(t *testing.T) {
	for _, b := range []string{"", "hello", "PK\x03\x04 not really", "\x1f\x8b no", "\x28\xb5\x2f\xfd no"} {
		require.ErrorIs(t, Unpack(write(t, []byte(b)), t.TempDir(), Limits{Bytes: 10, Files: 10}), ErrFormat, "%q", b)
	}
}

// FuzzUnpack finds no archive that leaves anything outside its folder.
func FuzzUnpack(f *testing.F) {
	plain := makeTar(f, good)
	f.Add(plain)
	f.Add(gzipped(f, plain))
	f.Add(zstandard(f, plain))
	f.Add(makeZip(f, good))
	f.Fuzz(func(t *testing.T, b []byte) {
		box := t.TempDir()
		dir := filepath.Join(box, "in")
		require.NoError(t, os.Mkdir(dir, 0o755))
		_ = Unpack(write(t, b), dir, Limits{Bytes: 1 << 16, Files: 64}, "reserved")
		entries, err := os.ReadDir(box)
		require.NoError(t, err)
		require.Len(t, entries, 1)
		require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && d.Type()&fs.ModeSymlink != 0 {
				if at, err := filepath.EvalSymlinks(p); err == nil {
					require.True(t, strings.HasPrefix(at, dir), "%s leads to %s", p, at)
				}
			}
			return err
		}))
	})
}
