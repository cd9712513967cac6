package signing

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"redflag/api"
	"redflag/durable"
	"redflag/trust/internal/tufsign"
)

// ErrKeysExist says that a directory has keys already; they are never replaced.
var ErrKeysExist = errors.New("there are keys already")

// ErrNoKeys says that a directory lacks a key or the metadata that goes with it.
var ErrNoKeys = errors.New("there are no signing keys (make them with: redflag keys init)")

// ErrPassphrase says that the passphrase does not open a key.
var ErrPassphrase = errors.New("the passphrase does not open the key")

const (
	pemPrivate = "PRIVATE KEY" // PKCS #8
	pemPublic  = "PUBLIC KEY"  // PKIX

	plainExt   = ".pem" // PKCS #8 in the clear
	sealedExt  = ".age" // the same, encrypted with a passphrase
	publicExt  = ".pub" // beside each, so that nobody needs a passphrase to look
	maxKeyFile = 64 << 10

	// defaultWork is age's own cost of a guess at a passphrase: 2^18 rounds of
	// scrypt, about a second and 256 MiB.
	defaultWork = 18
)

// Options say how the keys of a directory are made and opened.
type Options struct {
	// Passphrase is asked once, when it is first needed; nil writes keys in
	// the clear and opens none that are encrypted.
	Passphrase func() (string, error)
	// Signers are keys that are not files: a hardware token (PKCS #11) or a key
	// service. They sign where the root metadata names their public half.
	Signers []crypto.Signer
	// WorkFactor is the base-2 logarithm of scrypt's cost; 0 means the default.
	WorkFactor int
}

// Key is a key that this machine can sign with.
type Key struct {
	ID     string           `json:"id"`   // as TUF names it
	Name   string           `json:"name"` // of its file; empty for one that is not a file
	Sealed bool             `json:"sealed"`
	Public crypto.PublicKey `json:"-"`
}

// keyring is the keys directory and what is beside it.
type keyring struct {
	dir    string
	opts   Options
	phrase string // once asked for
}

func newKeyring(dir string, opts Options) *keyring {
	return &keyring{dir: filepath.Join(dir, "keys"), opts: opts}
}

func (k *keyring) path(name, ext string) string { return filepath.Join(k.dir, name+ext) }

func (k *keyring) passphrase() (string, error) {
	if k.phrase != "" {
		return k.phrase, nil
	}
	if k.opts.Passphrase == nil {
		return "", api.Errorf(api.CodeInvalid, "the keys are encrypted and no passphrase was given").
			WithHint("run it in a terminal, or set REDFLAG_PASSPHRASE or --passphrase-file")
	}
	phrase, err := k.opts.Passphrase()
	if err != nil {
		return "", err
	}
	if phrase == "" {
		return "", api.Errorf(api.CodeInvalid, "the passphrase is empty")
	}
	k.phrase = phrase
	return phrase, nil
}

// create makes an Ed25519 key and stores it where nobody else can read it.
func (k *keyring) create(name string) (crypto.Signer, error) {
	if err := api.CheckID("key name", name); err != nil {
		return nil, err
	}
	for _, ext := range []string{plainExt, sealedExt} {
		if _, err := os.Lstat(k.path(name, ext)); err == nil {
			return nil, fmt.Errorf("%s: %w", k.path(name, ext), ErrKeysExist)
		}
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key %s: %w", name, err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make key %s: %w", name, err)
	}
	public, err := MarshalPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("make key %s: %w", name, err)
	}
	text, ext := pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: private}), plainExt
	if k.opts.Passphrase != nil {
		ext = sealedExt
		if text, err = k.seal(text); err != nil {
			return nil, fmt.Errorf("encrypt key %s: %w", name, err)
		}
	}
	if err := durable.WriteFile(k.path(name, publicExt), public, 0o644); err != nil {
		return nil, fmt.Errorf("store key %s: %w", name, err)
	}
	if err := createFile(k.path(name, ext), text); err != nil {
		return nil, fmt.Errorf("store key %s: %w", name, err)
	}
	return key, nil
}

func (k *keyring) seal(plain []byte) ([]byte, error) {
	phrase, err := k.passphrase()
	if err != nil {
		return nil, err
	}
	to, err := age.NewScryptRecipient(phrase)
	if err != nil {
		return nil, err
	}
	work := k.opts.WorkFactor
	if work == 0 {
		work = defaultWork
	}
	to.SetWorkFactor(work)
	var out bytes.Buffer
	text := armor.NewWriter(&out)
	w, err := age.Encrypt(text, to)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := errors.Join(w.Close(), text.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func (k *keyring) open(sealed []byte) ([]byte, error) {
	phrase, err := k.passphrase()
	if err != nil {
		return nil, err
	}
	id, err := age.NewScryptIdentity(phrase)
	if err != nil {
		return nil, err
	}
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(sealed)), id)
	if err != nil {
		return nil, ErrPassphrase // whatever else it says, it must not quote
	}
	return io.ReadAll(io.LimitReader(r, maxKeyFile))
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

// list returns the keys of the directory and of the options. It needs no
// passphrase.
func (k *keyring) list() ([]Key, error) {
	entries, err := os.ReadDir(k.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	var keys []Key
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if ext != plainExt && ext != sealedExt {
			continue
		}
		name := strings.TrimSuffix(e.Name(), ext)
		public, err := k.public(name, ext)
		if err != nil {
			return nil, fmt.Errorf("read key %s: %w", name, err)
		}
		id, err := tufsign.KeyID(public)
		if err != nil {
			return nil, fmt.Errorf("read key %s: %w", name, err)
		}
		keys = append(keys, Key{ID: id, Name: name, Sealed: ext == sealedExt, Public: public})
	}
	for _, s := range k.opts.Signers {
		id, err := tufsign.KeyID(s.Public())
		if err != nil {
			return nil, err
		}
		keys = append(keys, Key{ID: id, Public: s.Public()})
	}
	return keys, nil
}

func (k *keyring) public(name, ext string) (crypto.PublicKey, error) {
	text, err := os.ReadFile(k.path(name, publicExt))
	if err == nil {
		return ParsePublicKey(text)
	}
	if ext == plainExt {
		key, err := k.load(Key{Name: name})
		if err != nil {
			return nil, err
		}
		return key.Public(), nil
	}
	return nil, err
}

// load opens a key of the directory.
func (k *keyring) load(key Key) (crypto.Signer, error) {
	ext := plainExt
	if key.Sealed {
		ext = sealedExt
	}
	path := k.path(key.Name, ext)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if key.Sealed {
		if text, err = k.open(text); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemPrivate {
		return nil, fmt.Errorf("read key: %s is not a PKCS #8 key in PEM", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key: %s is not a PKCS #8 key", path)
	}
	signer, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read key: %s cannot sign", path)
	}
	return signer, nil
}

// signers opens the keys that are here and whose ids are wanted, and no other.
func (k *keyring) signers(ids []string) ([]crypto.Signer, error) {
	keys, err := k.list()
	if err != nil {
		return nil, err
	}
	var out []crypto.Signer
	for _, key := range keys {
		if !slices.Contains(ids, key.ID) {
			continue
		}
		s, err := k.signer(key)
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

func (k *keyring) signer(key Key) (crypto.Signer, error) {
	if key.Name != "" {
		return k.load(key)
	}
	for _, s := range k.opts.Signers {
		if id, err := tufsign.KeyID(s.Public()); err == nil && id == key.ID {
			return s, nil
		}
	}
	return nil, ErrNoKeys
}

// MarshalPublicKey returns a public key as PEM, to be handed to whoever puts it
// into the root metadata.
func MarshalPublicKey(public crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: der}), nil
}

// ParsePublicKey is the inverse of MarshalPublicKey.
func ParsePublicKey(text []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != pemPublic {
		return nil, api.Errorf(api.CodeInvalid, "this is not a public key in PEM").WithHint("pass the .pub file beside the key")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "this is not a PKIX public key")
	}
	return public, nil
}

// NewKey makes a key in the folder of somebody who has no metadata yet: only its
// public half travels to whoever grants it a role.
func NewKey(dir, name string, opts Options) (Key, error) {
	ring := newKeyring(dir, opts)
	if err := os.MkdirAll(ring.dir, 0o700); err != nil {
		return Key{}, fmt.Errorf("make key: %w", err)
	}
	s, err := ring.create(name)
	if err != nil {
		return Key{}, err
	}
	id, err := tufsign.KeyID(s.Public())
	return Key{ID: id, Name: name, Sealed: opts.Passphrase != nil, Public: s.Public()}, err
}

// PublicKeyPath returns where the public half of a key of dir is.
func PublicKeyPath(dir, name string) string { return newKeyring(dir, Options{}).path(name, publicExt) }
