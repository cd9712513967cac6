package pki

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/url"
	"time"

	"redflag/api"
)

// The DNS names in members' certificates. They lead nowhere: a dialler
// verifies one of them to say which role it wants at the other end, whatever
// the address.
const (
	// NodeServerName is in nodes' certificates only.
	NodeServerName = "node.redflag.internal"
	// SwarmServerName is in every member's certificate.
	SwarmServerName = "swarm.redflag.internal"
)

// maxCSR bounds a certificate request, in bytes; ours have about 200.
const maxCSR = 4096

// NewCSR returns a request, PKCS #10 DER, that proves possession of key. It
// carries no name: the authority decides who the key belongs to.
func NewCSR(key ed25519.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("create certificate request: %w", err)
	}
	return der, nil
}

// CertificateKeyID returns the KeyID of a certificate's key, as the CA wrote it
// down.
func CertificateKeyID(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

// KeyID returns the SHA-256 of a public key's SubjectPublicKeyInfo, lower-case
// hex.
func KeyID(pub crypto.PublicKey) (string, error) {
	sum, err := keyHash(pub)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(sum), nil
}

func keyHash(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("marshal public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return sum[:], nil
}

// CSRKeyID returns the KeyID of the key that a request proves possession of,
// or a CodeInvalid error.
func CSRKeyID(csrDER []byte) (string, error) {
	pub, err := csrKey(csrDER)
	if err != nil {
		return "", err
	}
	return KeyID(pub)
}

// csrKey takes nothing but the key from a request.
func csrKey(der []byte) (ed25519.PublicKey, error) {
	if len(der) > maxCSR {
		return nil, api.Errorf(api.CodeInvalid, "the certificate request has %d bytes, more than %d", len(der), maxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the certificate request is malformed")
	}
	pub, ok := csr.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, api.Errorf(api.CodeInvalid, "the certificate request's key is not Ed25519")
	}
	if csr.CheckSignature() != nil {
		return nil, api.Errorf(api.CodeInvalid, "the certificate request's signature is wrong")
	}
	return pub, nil
}

// Sign returns a certificate, PEM, that binds the key of a request to id. Any
// name in the request is ignored. The certificate holds from a few minutes
// before now until ttl after it, and never longer than the authority's own. A
// request or an id that cannot be signed gets a CodeInvalid error.
func (a *Authority) Sign(csrDER []byte, id Identity, ttl time.Duration, now time.Time) ([]byte, error) {
	pub, err := csrKey(csrDER)
	if err != nil {
		return nil, err
	}
	if err := id.Validate(); err != nil {
		return nil, err
	}
	if id.ClusterID != a.clusterID {
		return nil, errWrongCluster
	}
	until := now.Add(ttl)
	if until.After(a.cert.NotAfter) {
		until = a.cert.NotAfter
	}
	if !until.After(now) {
		return nil, api.Errorf(api.CodeInvalid, "a certificate until %s would never hold", until.UTC().Format(time.RFC3339))
	}
	// The subject stays empty: one certificate, one identity, in one place.
	tmpl := &x509.Certificate{
		URIs:                  []*url.URL{id.uri()},
		DNSNames:              serverNames(id.Role),
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              until,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, pub, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate: %w", err)
	}
	return certPEM(der), nil
}

func serverNames(r Role) []string {
	if r == RoleNode {
		return []string{NodeServerName, SwarmServerName}
	}
	return []string{SwarmServerName}
}
