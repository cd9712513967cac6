package delta

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	magic = "RFD1"
	// maxSection is what a section makes at most, in bytes, and maxSteps how
	// many steps it has. They bound the memory of applying.
	maxSection = 4 << 20
	maxSteps   = 1 << 16
	// window is how far back the zstd stream refers, in bytes.
	window = 8 << 20
)

// Errors of patches that are refused.
var (
	// ErrFormat says that a patch is not one, or damaged.
	ErrFormat = errors.New("not a patch, or a damaged one")
	// ErrVersions says that a patch is between other versions than were named.
	ErrVersions = errors.New("the patch is between other versions")
)

// Apply writes the new version to dst: what patch makes of old. oldLength and
// newLength are the signed ones; nothing is read or made beyond them. What is
// in dst must not be used unless Apply returns nil and its hash is right.
func Apply(dst io.Writer, old io.ReaderAt, oldLength, newLength int64, patch io.Reader) error {
	raw := bufio.NewReaderSize(patch, 64<<10)
	if err := header(raw, oldLength, newLength); err != nil {
		return fmt.Errorf("apply patch: %w", err)
	}
	z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(window))
	if err != nil {
		return fmt.Errorf("apply patch: %w: %w", ErrFormat, err)
	}
	defer z.Close()
	a := &applier{src: bufio.NewReaderSize(z, 64<<10), old: old, oldLength: oldLength, left: newLength}
	for a.left > 0 {
		if err := a.section(dst); err != nil {
			return fmt.Errorf("apply patch: %w", err)
		}
	}
	if _, err := a.src.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("apply patch: %w: it goes on after the end", ErrFormat)
	}
	return nil
}

func header(r *bufio.Reader, oldLength, newLength int64) error {
	head := make([]byte, len(magic))
	if _, err := io.ReadFull(r, head); err != nil || !bytes.Equal(head, []byte(magic)) {
		return ErrFormat
	}
	from, err1 := binary.ReadUvarint(r)
	to, err2 := binary.ReadUvarint(r)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if from != uint64(oldLength) || to != uint64(newLength) {
		return fmt.Errorf("%w: from %d to %d bytes, signed from %d to %d", ErrVersions, from, to, oldLength, newLength)
	}
	return nil
}

// step takes bytes of the old version and goes on with new ones.
type step struct{ seek, take, fresh int64 }

type applier struct {
	src       *bufio.Reader
	old       io.ReaderAt
	oldLength int64
	at        int64 // in the old version
	left      int64 // bytes to make

	steps []step // of the section
	add   []byte
	out   []byte
}

// section reads one section and writes what it makes.
func (a *applier) section(dst io.Writer) error {
	taken, made, err := a.readSteps()
	if err != nil {
		return err
	}
	a.add = append(a.add[:0], make([]byte, taken)...)
	if err := a.fill(a.add); err != nil {
		return err
	}
	a.out = append(a.out[:0], make([]byte, made)...)
	at := int64(0)
	add := a.add
	for _, s := range a.steps {
		a.at += s.seek
		part := a.out[at : at+s.take]
		if _, err := io.ReadFull(io.NewSectionReader(a.old, a.at, s.take), part); err != nil {
			return fmt.Errorf("read old version: %w", err)
		}
		for i := range part {
			part[i] += add[i]
		}
		add = add[s.take:]
		a.at += s.take
		at += s.take
		if err := a.fill(a.out[at : at+s.fresh]); err != nil {
			return err
		}
		at += s.fresh
	}
	a.left -= made
	_, err = dst.Write(a.out)
	return err
}

// readSteps returns how much the section takes from the old version, and how
// much it makes.
func (a *applier) readSteps() (taken, made int64, err error) {
	count, err := binary.ReadUvarint(a.src)
	if err != nil {
		return 0, 0, damaged(err)
	}
	if count == 0 || count > maxSteps {
		return 0, 0, fmt.Errorf("%w: a section of %d steps", ErrFormat, count)
	}
	a.steps = a.steps[:0]
	limit := min(a.left, maxSection)
	at := a.at
	for range count {
		var s step
		if s, err = a.readStep(); err != nil {
			return 0, 0, err
		}
		// Every number was bounded where it was read, so that no sum overflows.
		at += s.seek
		if at < 0 || at+s.take > a.oldLength {
			return 0, 0, fmt.Errorf("%w: it reads outside of the old version", ErrFormat)
		}
		at += s.take
		taken += s.take
		made += s.take + s.fresh
		if made > limit {
			return 0, 0, fmt.Errorf("%w: it makes too much", ErrFormat)
		}
		a.steps = append(a.steps, s)
	}
	if made == 0 {
		return 0, 0, fmt.Errorf("%w: a section that makes nothing", ErrFormat)
	}
	return taken, made, nil
}

func (a *applier) readStep() (step, error) {
	seek, err1 := binary.ReadVarint(a.src)
	take, err2 := binary.ReadUvarint(a.src)
	fresh, err3 := binary.ReadUvarint(a.src)
	if err := errors.Join(err1, err2, err3); err != nil {
		return step{}, damaged(err)
	}
	if seek < -a.oldLength || seek > a.oldLength || take > maxSection || fresh > maxSection {
		return step{}, fmt.Errorf("%w: a step out of range", ErrFormat)
	}
	return step{seek, int64(take), int64(fresh)}, nil
}

func (a *applier) fill(b []byte) error {
	_, err := io.ReadFull(a.src, b)
	return damaged(err)
}

func damaged(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrFormat, err)
}
