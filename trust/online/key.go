package online

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
)

// NewKey returns a new Ed25519 key: the private half as PKCS #8 DER, which is a
// secret of the nodes, and the public half as PKIX DER, which goes into the
// root metadata.
func NewKey() (private, public []byte, err error) {
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make online key: %w", err)
	}
	if private, err = x509.MarshalPKCS8PrivateKey(priv); err != nil {
		return nil, nil, fmt.Errorf("make online key: %w", err)
	}
	if public, err = x509.MarshalPKIXPublicKey(pub); err != nil {
		return nil, nil, fmt.Errorf("make online key: %w", err)
	}
	return private, public, nil
}

// ParseKey reads the private half that NewKey returned.
func ParseKey(private []byte) (crypto.Signer, error) {
	key, err := x509.ParsePKCS8PrivateKey(private)
	if err != nil {
		return nil, errors.New("read online key: not a PKCS #8 private key")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("read online key: it cannot sign")
	}
	return signer, nil
}
