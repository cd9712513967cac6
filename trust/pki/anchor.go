package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// TrustAnchor returns a pool that trusts exactly the authority with this
// public key, for a machine that has a registration token and nothing else.
//
// A trust anchor is a name and a key (RFC 5280, 6.1.1); the certificate around
// them is a container. So a stand-in is made here, with the subject that
// follows from the key, and signed by a key that is thrown away: nobody checks
// a root's own signature. crypto/tls then verifies the server's chain in the
// ordinary way.
func TrustAnchor(clusterCA ed25519.PublicKey) (*x509.CertPool, error) {
	if len(clusterCA) != ed25519.PublicKeySize {
		return nil, errors.New("the authority's public key has a wrong size")
	}
	tmpl, err := authorityTemplate(clusterCA)
	if err != nil {
		return nil, err
	}
	tmpl.NotBefore = time.Unix(0, 0)
	tmpl.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) // RFC 5280: no expiry
	_, throwaway, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("build trust anchor: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, clusterCA, throwaway)
	if err != nil {
		return nil, fmt.Errorf("build trust anchor: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("build trust anchor: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool, nil
}
