package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"time"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	// clockSkew is how far behind the clock of a member may be.
	clockSkew = 5 * time.Minute
)

// Authority is the cluster's CA with its private key. It is immutable and safe
// for concurrent use. Nodes keep the key sealed in the replicated state.
type Authority struct {
	clusterID string
	cert      *x509.Certificate
	key       ed25519.PrivateKey
}

// NewAuthority draws the key of a new cluster's CA. Its certificate holds for
// ten years and may sign members only, no further CA.
func NewAuthority(clusterID string, now time.Time) (*Authority, error) {
	if err := checkClusterID(clusterID); err != nil {
		return nil, err
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate authority key: %w", err)
	}
	tmpl, err := authorityTemplate(pub)
	if err != nil {
		return nil, err
	}
	tmpl.URIs = []*url.URL{{Scheme: spiffe, Host: clusterID}}
	tmpl.NotBefore = now.Add(-clockSkew)
	tmpl.NotAfter = now.Add(authorityLife)
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, key)
	if err != nil {
		return nil, fmt.Errorf("create authority certificate: %w", err)
	}
	return newAuthority(der, key)
}

// ParseAuthority is the inverse of CertificatePEM and MarshalKey. It checks
// that the two belong together.
func ParseAuthority(certPEM, keyPKCS8 []byte) (*Authority, error) {
	certs, err := parseCertificates(certPEM)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("parse authority: %d certificates instead of one", len(certs))
	}
	key, err := parseKey(keyPKCS8)
	if err != nil {
		return nil, fmt.Errorf("parse authority: %w", err)
	}
	return newAuthority(certs[0].Raw, key)
}

func newAuthority(der []byte, key ed25519.PrivateKey) (*Authority, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority certificate: %w", err)
	}
	clusterID, err := clusterOf(cert)
	if err != nil {
		return nil, err
	}
	if !key.Public().(ed25519.PublicKey).Equal(cert.PublicKey) {
		return nil, errors.New("the authority's key does not match its certificate")
	}
	return &Authority{clusterID: clusterID, cert: cert, key: key}, nil
}

// ClusterID returns the cluster whose members the authority signs.
func (a *Authority) ClusterID() string { return a.clusterID }

// CertificatePEM returns the CA certificate.
func (a *Authority) CertificatePEM() []byte { return certPEM(a.cert.Raw) }

// MarshalKey returns the private key, PKCS #8 DER. The caller seals it.
func (a *Authority) MarshalKey() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(a.key) }

// PublicKey returns the key that registration tokens carry.
func (a *Authority) PublicKey() ed25519.PublicKey { return a.key.Public().(ed25519.PublicKey) }

// Format implements fmt.Formatter: no verb prints the key.
func (a *Authority) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "Authority("+a.clusterID+")")
}

// authorityTemplate returns what is fixed in every CA certificate. Subject and
// key id follow from the public key alone, so that who knows the key can build
// a trust anchor without the certificate.
func authorityTemplate(pub ed25519.PublicKey) (*x509.Certificate, error) {
	sum, err := keyHash(pub)
	if err != nil {
		return nil, err
	}
	short := sum[:20] // a common name has room for 64 characters
	return &x509.Certificate{
		Subject:               pkix.Name{CommonName: "RedFlag CA " + hex.EncodeToString(short)},
		SubjectKeyId:          short,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
	}, nil
}

// clusterOf returns the cluster that a CA certificate speaks for.
func clusterOf(cert *x509.Certificate) (string, error) {
	pub, ok := cert.PublicKey.(ed25519.PublicKey)
	if !ok || !cert.IsCA || len(cert.URIs) != 1 {
		return "", errNoAuthority
	}
	want, err := authorityTemplate(pub)
	if err != nil {
		return "", err
	}
	id := cert.URIs[0].Host
	if checkClusterID(id) != nil || cert.URIs[0].String() != spiffe+"://"+id || cert.Subject.String() != want.Subject.String() {
		return "", errNoAuthority
	}
	return id, nil
}

var errNoAuthority = errors.New("the certificate is not that of a cluster's authority")

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
}
