package signing

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"redflag/durable"
)

// ErrKeysExist says that a directory has keys already; they are never replaced.
var ErrKeysExist = errors.New("there are keys already")

// ErrNoKeys says that a directory lacks a key or the metadata that goes with it.
var ErrNoKeys = errors.New("there are no signing keys (make them with: redflag keys init)")

const pemType = "PRIVATE KEY" // PKCS #8

func keyPath(dir, role string) string { return filepath.Join(dir, "keys", role+".pem") }

// createKey makes an Ed25519 key and stores it where nobody else can read it.
func createKey(dir, role string) (crypto.Signer, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make %s key: %w", role, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make %s key: %w", role, err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
	switch err := createFile(keyPath(dir, role), block); {
	case errors.Is(err, fs.ErrExist):
		return nil, fmt.Errorf("%s: %w", keyPath(dir, role), ErrKeysExist)
	case err != nil:
		return nil, fmt.Errorf("store %s key: %w", role, err)
	}
	return key, nil
}

// createFile writes a secret, durably, to a file that must not exist yet.
func createFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return durable.SyncDir(filepath.Dir(path))
}

// loadKey returns a key of the directory. A later kind of key (a token, a key
// service) is another crypto.Signer.
func loadKey(dir, role string) (crypto.Signer, error) {
	path := keyPath(dir, role)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", path, ErrNoKeys)
	case err != nil:
		return nil, fmt.Errorf("read %s key: %w", role, err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemType {
		return nil, fmt.Errorf("read %s key: %s is not a PKCS #8 key in PEM", role, path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read %s key: %s is not a PKCS #8 key", role, path)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read %s key: %s cannot sign", role, path)
	}
	return signer, nil
}
