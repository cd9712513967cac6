package delta

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/edsrzf/mmap-go"
)

// MakeFiles writes the patch from the file old to the file fresh. The files
// are mapped, not read: what they take of the memory can be taken back.
func MakeFiles(dst io.Writer, old, fresh string, level int) (err error) {
	a, err := mapped(old)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.close()) }()
	b, err := mapped(fresh)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	return guarded(func() error { return Make(dst, a.bytes, b.bytes, level) })
}

// guarded turns the fault of a file that got shorter while it was mapped into
// an error.
func guarded(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			err = errors.New("a file changed while it was read")
		}
	}()
	return f()
}

type mapping struct{ bytes mmap.MMap }

func mapped(path string) (mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return mapping{}, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() == 0 { // nothing cannot be mapped
		return mapping{}, err
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return mapping{}, fmt.Errorf("map %s: %w", path, err)
	}
	return mapping{m}, nil
}

func (m mapping) close() error {
	if m.bytes == nil {
		return nil
	}
	return m.bytes.Unmap()
}
