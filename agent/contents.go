package agent

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"redflag/agent/install"
	"redflag/api"
	"redflag/durable"
	"redflag/payload/delta"
	"redflag/payload/pack"
	"redflag/trust"
)

const (
	dirContents = "contents"
	// suffixHalf marks what is being written; a crash leaves it.
	suffixHalf = ".half"
)

// contents gives payloads as they are installed, whatever form the swarm has
// them in. What a delta made is kept in a folder of its own, by SHA-256, for as
// long as nothing else has it: the next delta may start from there.
type contents struct {
	versions *install.Store
	payloads payloads
}

func (c *contents) path(sha256 string) string {
	return filepath.Join(filepath.Dir(c.versions.Dir), dirContents, sha256)
}

// open opens the payload of a version that was fetched. The caller verifies
// what it reads, and closes it.
func (c *contents) open(r *install.Record) (io.ReadCloser, error) {
	if r.Coding != nil && r.Coding.Method == api.CodingDelta {
		return os.Open(c.path(r.SHA256))
	}
	src, err := c.payloads.open(r.InfoHash)
	if err != nil || r.Coding == nil {
		return src, err
	}
	z, err := pack.NewReader(src, r.Length)
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	return &unpacking{z, src}, nil
}

// unpacking closes both ends.
type unpacking struct {
	*pack.Reader
	src io.Closer
}

// Close implements io.Closer.
func (u *unpacking) Close() error { return errors.Join(u.Reader.Close(), u.src.Close()) }

// base opens the payload of an installed version to read anywhere in it, after
// it was verified. done closes it.
func (c *contents) base(r *install.Record) (f *os.File, done func(), err error) {
	if f, err = os.Open(c.versions.Path(r.Name, "versions", r.Version, r.FileName)); err == nil {
		if err = trust.CopyVerified(io.Discard, f, r.Length, r.SHA256); err == nil {
			return f, func() { _ = f.Close() }, nil
		}
		_ = f.Close()
		return nil, nil, fmt.Errorf("the installed file: %w", err)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	// The version was unpacked, or is a package: what it came as is needed.
	src, err := c.open(r)
	if err != nil {
		return nil, nil, err
	}
	defer src.Close()
	path := c.path(r.SHA256) + ".base" + suffixHalf
	if err := c.write(path, func(w io.Writer) error { return trust.CopyVerified(w, src, r.Length, r.SHA256) }); err != nil {
		return nil, nil, err
	}
	if f, err = os.Open(path); err != nil {
		return nil, nil, err
	}
	return f, func() { _, _ = f.Close(), os.Remove(path) }, nil
}

// rebuild makes a payload of an installed one and the patch that the swarm has,
// and keeps it only if it is the signed one.
func (c *contents) rebuild(base io.ReaderAt, patch io.Reader, how *api.Coding) error {
	path := c.path(how.SHA256)
	err := c.write(path+suffixHalf, func(w io.Writer) error {
		made, pipe := io.Pipe()
		go func() {
			pipe.CloseWithError(delta.Apply(pipe, base, how.From.Length, how.Length, patch))
		}()
		err := trust.CopyVerified(w, made, how.Length, how.SHA256)
		_ = made.Close() // so that nobody waits for a reader
		return err
	})
	if err != nil {
		return err
	}
	return durable.Rename(path+suffixHalf, path)
}

// write makes a file and makes it durable, or leaves none.
func (c *contents) write(path string, fill func(io.Writer) error) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make folder for payloads: %w", err)
	}
	err := durable.WriteSynced(path, 0o600, fill)
	if err != nil {
		_ = os.Remove(path)
	}
	return err
}

func (c *contents) remove(r *install.Record) error {
	if err := os.Remove(c.path(r.SHA256)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// retain removes what no installed version needs: what was left half done, what
// belongs to older versions, and what the store of versions has as a file.
func (c *contents) retain() error {
	entries, err := os.ReadDir(c.path(""))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	needed, err := c.needed()
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range entries {
		if !needed[e.Name()] {
			errs = append(errs, os.Remove(c.path(e.Name())))
		}
	}
	return errors.Join(errs...)
}

func (c *contents) needed() (map[string]bool, error) {
	installed, err := c.versions.Installed()
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	for _, in := range installed {
		r, err := c.versions.Record(in.Name, in.Version)
		if err != nil {
			return nil, err
		}
		st, err := os.Stat(c.versions.Path(r.Name, "versions", r.Version, r.FileName))
		if r.Coding != nil && r.Coding.Method == api.CodingDelta && (err != nil || st.Size() != r.Length) {
			needed[r.SHA256] = true
		}
	}
	return needed, nil
}
