package pack

import (
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// Window is how far back a packed stream refers, in bytes: what an agent
// needs in memory to unpack it.
const Window = 8 << 20

// MaxLevel is the highest level; they are those of the zstd tool. Level 0 is
// no packing.
const MaxLevel = 22

// Errors of streams that are refused.
var (
	// ErrFormat says that the stream is not zstd, damaged, or needs a larger
	// window.
	ErrFormat = errors.New("not a zstd stream that can be unpacked")
	// ErrLength says that the stream unpacks to more or less than was signed.
	ErrLength = errors.New("the packed payload has not the signed length")
)

// CheckLevel refuses a level that there is not.
func CheckLevel(level int) error {
	if level < 0 || level > MaxLevel {
		return fmt.Errorf("compression level %d is not from 0 to %d", level, MaxLevel)
	}
	return nil
}

// NewWriter returns a writer that packs what is written to it. The caller
// closes it. level is from 1 to MaxLevel.
func NewWriter(dst io.Writer, level int) (io.WriteCloser, error) {
	w, err := zstd.NewWriter(dst, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(Window), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return nil, fmt.Errorf("pack: %w", err)
	}
	return w, nil
}

// Pack packs src into dst.
func Pack(dst io.Writer, src io.Reader, level int) error {
	w, err := NewWriter(dst, level)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, src); err != nil {
		return errors.Join(fmt.Errorf("pack: %w", err), w.Close())
	}
	return w.Close()
}

// Reader unpacks a stream. It is for one goroutine.
type Reader struct {
	z    *zstd.Decoder
	left int64 // bytes that may still come
	err  error
}

// NewReader returns what src unpacks to, which must be exactly length bytes.
// The caller closes it.
func NewReader(src io.Reader, length int64) (*Reader, error) {
	z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(Window))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w: %w", ErrFormat, err)
	}
	return &Reader{z: z, left: length}, nil
}

// Read implements io.Reader. It ends with io.EOF after exactly the signed
// length, and with ErrLength or ErrFormat otherwise.
func (r *Reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	// One byte beyond is asked for, or a stream that is too long would pass.
	n, err := r.z.Read(p[:min(int64(len(p)), r.left+1)])
	switch {
	case int64(n) > r.left:
		n, err = int(r.left), fmt.Errorf("unpack: %w: it is longer", ErrLength)
	case errors.Is(err, io.EOF) && int64(n) < r.left:
		err = fmt.Errorf("unpack: %w: it is %d bytes short", ErrLength, r.left-int64(n))
	case err != nil && !errors.Is(err, io.EOF):
		err = fmt.Errorf("unpack: %w: %w", ErrFormat, err)
	}
	r.left -= int64(n)
	r.err = err
	return n, err
}

// Close frees the decoder.
func (r *Reader) Close() error {
	r.z.Close()
	return nil
}
