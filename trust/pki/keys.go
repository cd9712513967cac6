package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"redflag/api"
	"redflag/durable"
)

const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
	// maxBundle is how many certificates a PEM bundle may hold: one CA, two
	// while it rolls over.
	maxBundle = 16
)

// LoadOrCreateKey reads a private key, PKCS #8 PEM, or draws one and writes it
// for the owner alone, and makes the folders above it if there are none. A file that others may read is refused with a hint: the
// key has to be taken as known to them. One process at a time may call it for
// the same path.
func LoadOrCreateKey(path string) (ed25519.PrivateKey, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("marshal key: %w", err)
	}
	data := pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der})
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	if err := durable.WriteFile(path, data, 0o600); err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return key, nil
}

func loadKey(path string) (ed25519.PrivateKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open key: %w", err)
	}
	// Windows answers 0666 for every file; its access lists are not looked at.
	if st.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return nil, api.Errorf(api.CodeInvalid, "key file %s is open to other users (mode %04o)", path, st.Mode().Perm()).
			WithHint("chmod 600 %s if nobody else has read it, else delete it and enrol again", path)
	}
	data, err := readBounded(f)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemKey {
		return nil, fmt.Errorf("key file %s holds no PEM block %q", path, pemKey)
	}
	key, err := parseKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return key, nil
}

// parseKey drops the parser's own error: it might quote what it read.
func parseKey(pkcs8 []byte) (ed25519.PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(pkcs8)
	if err != nil {
		return nil, errors.New("the private key is not PKCS #8")
	}
	ed, ok := key.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("the private key is not Ed25519")
	}
	return ed, nil
}

// parseCertificates reads 1 to maxBundle certificates and no other PEM block;
// text around the blocks is skipped, as is usual.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("certificates have %d bytes, more than %d", len(data), maxFile)
	}
	var certs []*x509.Certificate
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			break
		}
		if block.Type != pemCertificate || len(certs) == maxBundle {
			return nil, fmt.Errorf("want 1 to %d PEM blocks %q only", maxBundle, pemCertificate)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		certs = append(certs, cert)
		data = rest
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in PEM")
	}
	return certs, nil
}
