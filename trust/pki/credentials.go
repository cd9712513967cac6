package pki

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"redflag/durable"
)

// The files of a member's credentials, in one directory.
const (
	KeyFile         = "key.pem"
	certificateFile = "cert.pem"
	authoritiesFile = "ca.pem"
)

// ErrNotEnrolled says that a directory holds no certificate yet.
var ErrNotEnrolled = errors.New("not enrolled")

// Credentials is this process's certificate and key, and the authorities it
// believes. It is safe for concurrent use; Reload replaces all of it at once,
// for handshakes that begin later.
type Credentials struct {
	dir     string
	now     atomic.Pointer[material]
	revoked atomic.Pointer[func(keyID string) bool]
	clock   atomic.Pointer[func() time.Time]
}

// material is one coherent set. It is never changed.
type material struct {
	identity    Identity
	certificate tls.Certificate
	roots       *x509.CertPool
	authorities []byte // PEM
	sessions    tls.ClientSessionCache
}

// maxSessions is how many nodes a caller resumes a session with.
const maxSessions = 16

// LoadCredentials reads what SaveCredentials wrote, and the key beside it. It
// returns ErrNotEnrolled when the certificate, the authorities or the key are
// absent. A certificate that has expired loads: its handshakes fail.
func LoadCredentials(dir string) (*Credentials, error) {
	c := &Credentials{dir: dir}
	if err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the directory again, after SaveCredentials put a new
// certificate or new authorities there. After an error the old ones stay.
func (c *Credentials) Reload() error {
	m, err := load(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotEnrolled
	}
	if err != nil {
		return fmt.Errorf("load credentials: %w", err)
	}
	c.now.Store(m)
	return nil
}

func load(dir string) (*material, error) {
	key, err := loadKey(filepath.Join(dir, KeyFile))
	if err != nil {
		return nil, err
	}
	cert, err := readFile(filepath.Join(dir, certificateFile))
	if err != nil {
		return nil, err
	}
	authorities, err := readFile(filepath.Join(dir, authoritiesFile))
	if err != nil {
		return nil, err
	}
	return newMaterial(key, cert, authorities)
}

// SaveCredentials puts a certificate for the key in dir, and the authorities
// that vouch for it, beside that key. It refuses a certificate for another key
// or from another authority, and then changes nothing.
func SaveCredentials(dir string, certPEM, caPEM []byte) error {
	key, err := loadKey(filepath.Join(dir, KeyFile))
	if err != nil {
		return fmt.Errorf("save credentials: %w", err)
	}
	if _, err := newMaterial(key, certPEM, caPEM); err != nil {
		return fmt.Errorf("save credentials: %w", err)
	}
	// The authorities go first: after a crash between the two, the old
	// certificate stands beside a bundle that still covers it, or no
	// certificate beside a bundle, which is not enrolled.
	if err := durable.WriteFile(filepath.Join(dir, authoritiesFile), caPEM, 0o644); err != nil {
		return fmt.Errorf("save authorities: %w", err)
	}
	if err := durable.WriteFile(filepath.Join(dir, certificateFile), certPEM, 0o644); err != nil {
		return fmt.Errorf("save certificate: %w", err)
	}
	return nil
}

func newMaterial(key ed25519.PrivateKey, certPEM, caPEM []byte) (*material, error) {
	certs, err := parseCertificates(certPEM)
	if err != nil {
		return nil, err
	}
	leaf := certs[0]
	if len(certs) != 1 || !key.Public().(ed25519.PublicKey).Equal(leaf.PublicKey) {
		return nil, errors.New("the certificate does not belong to the key")
	}
	id, err := identityOfCert(leaf)
	if err != nil {
		return nil, err
	}
	roots, err := authorityPool(caPEM, id.ClusterID)
	if err != nil {
		return nil, err
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots:       roots,
		KeyUsages:   []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		CurrentTime: leaf.NotAfter, // whether it still holds is the handshake's question
	})
	if err != nil {
		return nil, fmt.Errorf("verify certificate: %w", err)
	}
	return &material{
		identity:    id,
		certificate: tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf},
		roots:       roots,
		authorities: caPEM,
		sessions:    tls.NewLRUClientSessionCache(maxSessions),
	}, nil
}

// authorityPool accepts authorities of one cluster only.
func authorityPool(caPEM []byte, clusterID string) (*x509.CertPool, error) {
	certs, err := parseCertificates(caPEM)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, cert := range certs {
		cluster, err := clusterOf(cert)
		if err != nil {
			return nil, err
		}
		if cluster != clusterID {
			return nil, errWrongCluster
		}
		pool.AddCert(cert)
	}
	return pool, nil
}

// Identity returns who this process is.
func (c *Credentials) Identity() Identity { return c.now.Load().identity }

// Authorities returns the PEM bundle of the authorities believed now. The
// caller must not change it.
func (c *Credentials) Authorities() []byte { return c.now.Load().authorities }
