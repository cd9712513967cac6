// Package tufsign puts signatures on TUF metadata for the two packages that may
// sign. It owns the step from a crypto.Signer, behind which a hardware token or
// a key service can stand, to go-tuf's. It must never see where a key comes
// from, and package trust must never import it.
package tufsign

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Sign puts the signatures of signers, and no others, on m and returns the file.
// Ed25519 and ECDSA P-256 keys can sign.
func Sign[T metadata.Roles](m *metadata.Metadata[T], signers ...crypto.Signer) ([]byte, error) {
	m.ClearSignatures()
	for _, s := range signers {
		if _, err := m.Sign(adapter{s}); err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
	}
	file, err := m.ToBytes(false)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	return file, nil
}

// adapter is a crypto.Signer as go-tuf wants it.
type adapter struct{ key crypto.Signer }

var _ signature.Signer = adapter{}

// PublicKey implements signature.Signer.
func (a adapter) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return a.key.Public(), nil
}

// SignMessage implements signature.Signer.
func (a adapter) SignMessage(message io.Reader, _ ...signature.SignOption) ([]byte, error) {
	msg, err := io.ReadAll(message)
	if err != nil {
		return nil, err
	}
	switch public := a.key.Public().(type) {
	case ed25519.PublicKey:
		return a.key.Sign(rand.Reader, msg, crypto.Hash(0))
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return nil, errors.New("the curve of an ECDSA key must be P-256")
		}
		digest := sha256.Sum256(msg)
		return a.key.Sign(rand.Reader, digest[:], crypto.SHA256)
	default:
		return nil, fmt.Errorf("a key of type %T cannot sign metadata", public)
	}
}
