package pki

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"redflag/api"
	"redflag/durable"
)

var errRevoked = api.Errorf(api.CodeDenied, "the member was put out of the cluster")

// SetRevoked gives the credentials the way to ask whether the key of a member
// (by KeyID) was put out. It counts from the next handshake and the next order
// on, in both directions; ask must be safe for concurrent use.
func (c *Credentials) SetRevoked(ask func(keyID string) bool) { c.revoked.Store(&ask) }

func (c *Credentials) checkRevoked(leaf *x509.Certificate) error {
	ask := c.revoked.Load()
	if ask == nil {
		return nil
	}
	if (*ask)(CertificateKeyID(leaf)) {
		return errRevoked
	}
	return nil
}

// RenewalDue reports whether two thirds of the certificate's life are over, or
// it was signed by another authority than the one that signs now, given by its
// id; an empty id does not matter.
func (c *Credentials) RenewalDue(issuer string, now time.Time) bool {
	leaf := c.now.Load().certificate.Leaf
	from := leaf.NotBefore.Add(clockSkew)
	return now.After(from.Add(leaf.NotAfter.Sub(from)*2/3)) || (issuer != "" && issuer != Issuer(leaf))
}

// Begins returns the beginning of the certificate's life.
func (c *Credentials) Begins() time.Time { return c.now.Load().certificate.Leaf.NotBefore }

// Expires returns the end of the certificate's life.
func (c *Credentials) Expires() time.Time { return c.now.Load().certificate.Leaf.NotAfter }

// Issuer returns the id of the authority that signed this process's certificate.
func (c *Credentials) Issuer() string { return Issuer(c.now.Load().certificate.Leaf) }

// Issuer returns the id of the authority that signed a certificate.
func Issuer(leaf *x509.Certificate) string { return hex.EncodeToString(leaf.AuthorityKeyId) }

// KeyID returns the id of this process's key.
func (c *Credentials) KeyID() string {
	id, err := KeyID(c.now.Load().certificate.Leaf.PublicKey)
	if err != nil {
		return "" // the key was marshalled when the certificate was made
	}
	return id
}

// CertificatePEM returns this process's certificate.
func (c *Credentials) CertificatePEM() []byte { return certPEM(c.now.Load().certificate.Leaf.Raw) }

// CSR returns a request for a new certificate for the same key.
func (c *Credentials) CSR() ([]byte, error) {
	return NewCSR(c.now.Load().certificate.PrivateKey.(ed25519.PrivateKey))
}

// Renew stores a new certificate for the same key and member, or a new bundle,
// or both (nil leaves either), and uses them from the next handshake on. A
// certificate for anybody else, and a bundle that the certificate does not hold
// under, change nothing.
func (c *Credentials) Renew(certificate, authorities []byte) error {
	m := c.now.Load()
	if certificate == nil {
		certificate = certPEM(m.certificate.Leaf.Raw)
	}
	if authorities == nil {
		authorities = m.authorities
	}
	next, err := newMaterial(m.certificate.PrivateKey.(ed25519.PrivateKey), certificate, authorities)
	if err != nil {
		return fmt.Errorf("renew credentials: %w", err)
	}
	if next.identity != m.identity {
		return errors.New("renew credentials: the certificate is for " + next.identity.String())
	}
	if err := SaveCredentials(c.dir, certificate, authorities); err != nil {
		return err
	}
	c.now.Store(next)
	return nil
}

// StrangerTLS is NodeClientTLS without a certificate, for a member whose own
// has expired.
func (c *Credentials) StrangerTLS(protos ...string) *tls.Config {
	conf := c.client(NodeServerName, protos)
	conf.GetClientCertificate = nil
	return conf
}

// AuthorityInfo describes one certificate of a CA bundle.
type AuthorityInfo struct {
	ID       string
	Key      ed25519.PublicKey
	NotAfter time.Time
	PEM      []byte
}

// Bundle reads a CA bundle, the authority that signs first.
func Bundle(bundle []byte) ([]AuthorityInfo, error) {
	certs, err := parseCertificates(bundle)
	if err != nil {
		return nil, fmt.Errorf("read CA bundle: %w", err)
	}
	out := make([]AuthorityInfo, len(certs))
	for i, cert := range certs {
		if _, err := clusterOf(cert); err != nil {
			return nil, fmt.Errorf("read CA bundle: %w", err)
		}
		out[i] = AuthorityInfo{
			ID: hex.EncodeToString(cert.SubjectKeyId), Key: cert.PublicKey.(ed25519.PublicKey),
			NotAfter: cert.NotAfter, PEM: certPEM(cert.Raw),
		}
	}
	return out, nil
}

// ParseIssuer returns the first authority of a bundle with its key.
func ParseIssuer(bundle, keyPKCS8 []byte) (*Authority, error) {
	infos, err := Bundle(bundle)
	if err != nil {
		return nil, err
	}
	return ParseAuthority(infos[0].PEM, keyPKCS8)
}

// cachedCA is the file in which a node keeps the sealed key of the authority
// beside its own certificate: when every node was off for longer than a
// certificate lives, none could reach the others to learn it.
const cachedCA = "issuer.sealed"

// SaveIssuer keeps the sealed key of the first authority of the bundle.
func (c *Credentials) SaveIssuer(sealed []byte) error {
	return durable.WriteFile(filepath.Join(c.dir, cachedCA), sealed, 0o600)
}

// SavedIssuer returns what SaveIssuer kept, or an fs.ErrNotExist error.
func (c *Credentials) SavedIssuer() ([]byte, error) { return readFile(filepath.Join(c.dir, cachedCA)) }
