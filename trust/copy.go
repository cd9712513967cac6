package trust

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// CopyVerified copies a payload of length bytes from src to dst and returns nil
// only if src held exactly those bytes: else ErrLength, ErrHash, or the error
// of src or dst. It uses constant memory and writes at most length bytes, but it
// writes before it knows: what is in dst must not be used unless it returns nil.
func CopyVerified(dst io.Writer, src io.Reader, length int64, sha256Hex string) error {
	if length < 0 || !isHex(sha256Hex, sha256.Size) {
		return fmt.Errorf("verify payload: %w: want a length and a SHA-256", ErrMalformed)
	}
	h := sha256.New()
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
	if got := hex.EncodeToString(h.Sum(nil)); got != sha256Hex {
		return fmt.Errorf("verify payload: %w: SHA-256 is %s, %s was signed", ErrHash, got, sha256Hex)
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
