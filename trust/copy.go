package trust

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// CopyVerified copies a payload of length bytes from src to dst and returns nil
// only if src held exactly those bytes: else ErrLength, ErrHash, or the error
// of src or dst. It uses constant memory and writes at most length bytes, but it
// writes before it knows: what is in dst must not be used unless it returns nil.
func CopyVerified(dst io.Writer, src io.Reader, length int64, sha256Hex string) error {
	if length < 0 || !isHex(sha256Hex, sha256.Size) {
		return fmt.Errorf("verify payload: %w: want a length and a SHA-256", ErrMalformed)
	}
	return copyVerified(dst, src, length, sha256.New(), sha256Hex)
}

// File is what was signed of a file whose custom field does not matter.
type File struct {
	Length int64
	Hash   string // lower-case hex
	hash   func() hash.Hash
}

// Copy is CopyVerified for this file.
func (f File) Copy(dst io.Writer, src io.Reader) error {
	return copyVerified(dst, src, f.Length, f.hash(), f.Hash)
}

func fileOfTarget(file *metadata.TargetFiles) (File, error) {
	for _, known := range []struct {
		name string
		new  func() hash.Hash
	}{{"sha256", sha256.New}, {"sha512", sha512.New}} {
		if sum := file.Hashes[known.name]; len(sum) == known.new().Size() {
			return File{Length: file.Length, Hash: hex.EncodeToString(sum), hash: known.new}, nil
		}
	}
	return File{}, fmt.Errorf("target: %w: it has neither SHA-256 nor SHA-512", ErrMalformed)
}

func copyVerified(dst io.Writer, src io.Reader, length int64, h hash.Hash, want string) error {
	n, err := io.Copy(io.MultiWriter(dst, h), io.LimitReader(src, length))
	if err != nil {
		return fmt.Errorf("copy payload: %w", err)
	}
	if n < length {
		return fmt.Errorf("verify payload: %w: %d bytes, %d were signed", ErrLength, n, length)
	}
	if err := expectEnd(src); err != nil {
		return err
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != want {
		return fmt.Errorf("verify payload: %w: it is %s, %s was signed", ErrHash, got, want)
	}
	return nil
}

// expectEnd refuses a source that has a byte left.
func expectEnd(src io.Reader) error {
	switch _, err := io.ReadFull(src, make([]byte, 1)); {
	case err == nil:
		return fmt.Errorf("verify payload: %w: longer than was signed", ErrLength)
	case errors.Is(err, io.EOF):
		return nil
	default:
		return fmt.Errorf("copy payload: %w", err)
	}
}
