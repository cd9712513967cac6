package archive

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds the memory of a zstd decoder, in bytes. It is what zstd's
// own tool allows without being asked.
const maxWindow = 128 << 20

// maxLink bounds the target of a link, in bytes.
const maxLink = 4096

// Errors of archives that are refused.
var (
	// ErrUnsafe says that an entry would reach out of its folder, or is
	// neither file, folder nor link.
	ErrUnsafe = errors.New("the archive is not safe to unpack")
	// ErrTooLarge says that the archive holds more than was declared.
	ErrTooLarge = errors.New("the archive is larger than declared")
	// ErrFormat says that the file is not an archive that this package knows.
	ErrFormat = errors.New("not a tar, tar.gz, tar.zst or zip archive")
)

// item is one entry of an archive, whatever its format.
type item struct {
	name string
	mode fs.FileMode // type and permissions
	link string      // target of a symbolic or hard link
	hard bool
	size int64
	body io.Reader
}

// each calls f for every entry of the archive in file.
func each(file *os.File, f func(item) error) error {
	magic := make([]byte, 265)
	n, err := file.ReadAt(magic, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	magic = magic[:n]
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	buffered := bufio.NewReaderSize(file, 256<<10)
	switch {
	case bytes.HasPrefix(magic, []byte("PK\x03\x04")):
		return eachZip(file, f)
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		return eachTar(z, f)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(buffered, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		defer z.Close()
		return eachTar(z, f)
	case len(magic) > 262 && string(magic[257:262]) == "ustar":
		return eachTar(buffered, f)
	default:
		return ErrFormat
	}
}

func eachTar(r io.Reader, f func(item) error) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFormat, err)
		}
		it := item{name: h.Name, link: h.Linkname, size: h.Size, body: t, mode: fs.FileMode(h.Mode) & fs.ModePerm}
		switch h.Typeflag {
		case tar.TypeReg:
		case tar.TypeDir:
			it.mode |= fs.ModeDir
		case tar.TypeSymlink:
			it.mode |= fs.ModeSymlink
		case tar.TypeLink:
			it.hard = true
		case tar.TypeXGlobalHeader:
			continue
		default:
			return fmt.Errorf("%w: entry %.200q is of type %q", ErrUnsafe, h.Name, h.Typeflag)
		}
		if err := f(it); err != nil {
			return err
		}
	}
}

func eachZip(file *os.File, f func(item) error) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	z, err := zip.NewReader(file, info.Size())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	for _, e := range z.File {
		if err := zipEntry(e, f); err != nil {
			return err
		}
	}
	return nil
}

func zipEntry(e *zip.File, f func(item) error) error {
	mode := e.Mode()
	if mode&fs.ModeType&^(fs.ModeDir|fs.ModeSymlink) != 0 {
		return fmt.Errorf("%w: entry %.200q is of type %s", ErrUnsafe, e.Name, mode.Type())
	}
	body, err := e.Open()
	if err != nil {
		return fmt.Errorf("%w: entry %.200q: %w", ErrFormat, e.Name, err)
	}
	defer body.Close()
	it := item{name: e.Name, mode: mode & (fs.ModePerm | fs.ModeType), size: int64(e.UncompressedSize64), body: body}
	if mode&fs.ModeSymlink != 0 {
		target, err := io.ReadAll(io.LimitReader(body, maxLink+1))
		if err != nil {
			return fmt.Errorf("%w: entry %.200q: %w", ErrFormat, e.Name, err)
		}
		it.link, it.size = string(target), 0
	}
	return f(it)
}
