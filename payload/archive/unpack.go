package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"redflag/durable"
)

// Limits bound what an archive may become. Both must be set.
type Limits struct {
	Bytes int64
	Files int // entries: files, folders and links
}

// Size is what an archive becomes.
type Size = Limits

// Measure returns what the archive at name becomes, and refuses one that
// Unpack would refuse.
func Measure(name string) (Size, error) {
	f, err := os.Open(name)
	if err != nil {
		return Size{}, err
	}
	defer f.Close()
	var s Size
	seen := map[string]fs.FileMode{".": fs.ModeDir}
	err = each(f, func(it item) error {
		at, err := place(it, seen)
		if err != nil || at == "." {
			return err
		}
		s.Files++
		if !it.mode.IsRegular() || it.hard {
			return nil
		}
		n, err := io.Copy(io.Discard, it.body)
		s.Bytes += n
		return err
	})
	if err != nil {
		return Size{}, fmt.Errorf("measure archive: %w", err)
	}
	return s, nil
}

// Unpack writes the archive at name into dir, which exists and is empty but
// for what reserved names, and makes all of it durable. An entry may not have
// a reserved name. On an error dir holds a part, which must not be used.
func Unpack(name, dir string, most Limits, reserved ...string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	u := &unpacker{root: root, left: most, seen: map[string]fs.FileMode{".": fs.ModeDir}}
	for _, r := range reserved {
		u.seen[r] = fs.ModeIrregular
	}
	if err := each(f, u.entry); err != nil {
		return fmt.Errorf("unpack archive: %w", err)
	}
	return u.syncFolders(dir)
}

type unpacker struct {
	root *os.Root
	left Limits
	seen map[string]fs.FileMode // what stands at a path
}

func (u *unpacker) entry(it item) error {
	at, err := place(it, u.seen)
	if err != nil || at == "." {
		return err
	}
	if u.left.Files--; u.left.Files < 0 {
		return fmt.Errorf("%w: too many entries", ErrTooLarge)
	}
	if err := u.root.MkdirAll(filepath.Dir(filepath.FromSlash(at)), 0o755); err != nil {
		return err
	}
	name := filepath.FromSlash(at)
	switch {
	case it.hard:
		return u.root.Link(filepath.FromSlash(path.Clean(it.link)), name)
	case it.mode.IsDir():
		// Folders stay writable for their owner, or they could not be removed.
		return errors.Join(u.root.MkdirAll(name, 0o755), u.root.Chmod(name, it.mode.Perm()|0o700))
	case it.mode&fs.ModeSymlink != 0:
		return u.root.Symlink(filepath.FromSlash(it.link), name)
	default:
		return u.file(name, it)
	}
}

func (u *unpacker) file(name string, it item) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, it.mode.Perm()|0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(f, io.LimitReader(it.body, u.left.Bytes+1))
	if u.left.Bytes -= n; u.left.Bytes < 0 {
		return fmt.Errorf("%w: too many bytes", ErrTooLarge)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(f.Chmod(it.mode.Perm()|0o600), f.Sync()); err != nil {
		return err
	}
	return f.Close()
}

func (u *unpacker) syncFolders(dir string) error {
	for at, mode := range u.seen {
		if mode.IsDir() {
			if err := durable.SyncDir(filepath.Join(dir, filepath.FromSlash(at))); err != nil {
				return err
			}
		}
	}
	return nil
}

// place returns where an entry goes, and remembers it with its parents in
// seen. The rules make every link resolve inside: an entry never lies behind a
// link, and a link climbs only at its beginning, from a real folder.
func place(it item, seen map[string]fs.FileMode) (string, error) {
	refuse := func(why string) (string, error) {
		return "", fmt.Errorf("%w: entry %.200q %s", ErrUnsafe, it.name, why)
	}
	at := path.Clean(strings.TrimSuffix(it.name, "/"))
	if !utf8.ValidString(it.name) || len(it.name) > maxLink || strings.ContainsAny(it.name, "\x00\\") ||
		!filepath.IsLocal(filepath.FromSlash(at)) {
		return refuse("has a name that leads outside")
	}
	if at == "." {
		return at, nil
	}
	for dir := path.Dir(at); dir != "."; dir = path.Dir(dir) {
		if m, ok := seen[dir]; ok && !m.IsDir() {
			return refuse("lies behind a file or a link")
		}
	}
	old, taken := seen[at]
	if taken && (!old.IsDir() || !it.mode.IsDir()) {
		return refuse("comes twice, or has a reserved name")
	}
	if it.mode&fs.ModeSymlink != 0 && !inside(path.Dir(at), it.link) {
		return refuse("is a link that leads outside")
	}
	if m, ok := seen[path.Clean(it.link)]; it.hard && (!ok || !m.IsRegular()) {
		return refuse("is a link to no earlier file")
	}
	for dir := path.Dir(at); dir != "."; dir = path.Dir(dir) {
		seen[dir] = fs.ModeDir
	}
	seen[at] = it.mode.Type()
	return at, nil
}

// inside reports whether a link in folder dir leads to something below the
// root, whatever other links it passes.
func inside(dir, target string) bool {
	if target == "" || len(target) > maxLink || strings.ContainsAny(target, "\x00\\") || path.IsAbs(target) {
		return false
	}
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "..":
			if down {
				return false
			}
		case part != "" && part != ".":
			down = true
		}
	}
	return filepath.IsLocal(filepath.FromSlash(path.Join(dir, target)))
}
