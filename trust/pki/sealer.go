package pki

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
)

const (
	sealingKeySize = 32
	// sealFormat is the first byte of everything sealed; another algorithm
	// would get another number.
	sealFormat = 1
)

// ErrUnseal says that the key or the purpose is another one, or the data is
// damaged; which of them cannot be told.
var ErrUnseal = errors.New("the sealed data does not open: wrong sealing key, wrong purpose or damaged")

// Sealer encrypts the secrets in the replicated state, so that a copy of the
// state alone reveals none. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// GenerateSealingKey draws the key of a new cluster. Nodes keep it in a file
// of their own, apart from the state.
func GenerateSealingKey() []byte {
	key := make([]byte, sealingKeySize)
	_, _ = rand.Read(key) // never fails: it ends the process instead
	return key
}

// NewSealer takes a key of GenerateSealingKey.
func NewSealer(key []byte) (*Sealer, error) {
	if len(key) != sealingKeySize {
		return nil, fmt.Errorf("a sealing key has %d bytes, not %d", sealingKeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("new sealer: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("new sealer: %w", err)
	}
	return &Sealer{aead: aead}, nil
}

// Seal encrypts plain with AES-256-GCM under a random nonce. Only Open with
// the same purpose returns it: one sealed secret cannot be passed off as
// another. One key seals up to 2^32 values.
func (s *Sealer) Seal(plain []byte, purpose string) ([]byte, error) {
	if purpose == "" {
		return nil, errors.New("seal: no purpose was named")
	}
	nonce := make([]byte, s.aead.NonceSize())
	_, _ = rand.Read(nonce)
	return s.aead.Seal(append([]byte{sealFormat}, nonce...), nonce, plain, []byte(purpose)), nil
}

// Open is the inverse of Seal, or returns ErrUnseal.
func (s *Sealer) Open(sealed []byte, purpose string) ([]byte, error) {
	head := 1 + s.aead.NonceSize()
	if len(sealed) < head || sealed[0] != sealFormat {
		return nil, ErrUnseal
	}
	plain, err := s.aead.Open(nil, sealed[1:head], sealed[head:], []byte(purpose))
	if err != nil {
		return nil, ErrUnseal
	}
	return plain, nil
}

// Format implements fmt.Formatter: no verb prints the key.
func (s *Sealer) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Sealer") }
