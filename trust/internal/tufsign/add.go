package tufsign

import (
	"crypto"
	"fmt"
	"slices"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Add puts the signatures of signers beside those that m has and returns the
// file. A signer that has signed already is replaced: its signature may be of
// other content.
func Add[T metadata.Roles](m *metadata.Metadata[T], signers ...crypto.Signer) ([]byte, error) {
	for _, s := range signers {
		id, err := KeyID(s.Public())
		if err != nil {
			return nil, err
		}
		m.Signatures = slices.DeleteFunc(m.Signatures, func(have metadata.Signature) bool { return have.KeyID == id })
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

// KeyID returns the name that TUF gives a public key.
func KeyID(public crypto.PublicKey) (string, error) {
	key, err := metadata.KeyFromPublicKey(public)
	if err != nil {
		return "", fmt.Errorf("name key: %w", err)
	}
	id, err := key.ID()
	if err != nil {
		return "", fmt.Errorf("name key: %w", err)
	}
	return id, nil
}
