package pki

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"redflag/api"
)

const (
	tokenPrefix = "rf1."
	// maxToken bounds a registration token, in bytes; ours have about 180.
	maxToken = 512
)

// RegistrationToken is all that a machine needs to enrol: what it says to the
// cluster, and what it believes of the cluster.
type RegistrationToken struct {
	ID     string
	Secret string `json:"-"`
	// CA is the public key of the cluster's authority, see TrustAnchor.
	CA ed25519.PublicKey
	// RootHash is the SHA-256 of the TUF root, lower-case hex; empty while the
	// cluster has none.
	RootHash string
}

// Encode returns the token as operators hand it on. The text is a secret.
func (t RegistrationToken) Encode() string {
	return tokenPrefix + strings.Join([]string{t.ID, t.Secret, base64.RawURLEncoding.EncodeToString(t.CA), t.RootHash}, ".")
}

// Format implements fmt.Formatter: no verb prints the secret.
func (t RegistrationToken) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, "RegistrationToken("+t.ID+")")
}

// ParseRegistrationToken is the inverse of Encode; space around the token is
// dropped. Its CodeInvalid errors say what is wrong and quote nothing.
func ParseRegistrationToken(s string) (RegistrationToken, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxToken {
		return RegistrationToken{}, badToken("is longer than %d bytes", maxToken)
	}
	rest, ok := strings.CutPrefix(s, tokenPrefix)
	if !ok {
		return RegistrationToken{}, badToken("does not start with %q", tokenPrefix)
	}
	f := strings.Split(rest, ".")
	n := len(f)
	if n < 4 {
		return RegistrationToken{}, badToken("is cut short")
	}
	t := RegistrationToken{ID: strings.Join(f[:n-3], "."), Secret: f[n-3], RootHash: f[n-1]} // an id may have dots
	ca, err := base64.RawURLEncoding.Strict().DecodeString(f[n-2])
	if err != nil || len(ca) != ed25519.PublicKeySize {
		return RegistrationToken{}, badToken("has a damaged authority key")
	}
	t.CA = ca
	if !api.ValidID(t.ID) || !api.ValidID(t.Secret) {
		return RegistrationToken{}, badToken("has a damaged id or secret")
	}
	root, err := hex.DecodeString(t.RootHash)
	if err != nil || (len(root) != 0 && len(root) != sha256.Size) || hex.EncodeToString(root) != t.RootHash {
		return RegistrationToken{}, badToken("has a damaged root hash")
	}
	if t.Encode() != s { // base64 skips line breaks
		return RegistrationToken{}, badToken("is damaged")
	}
	return t, nil
}

func badToken(format string, args ...any) error {
	return api.Errorf(api.CodeInvalid, "the registration token "+format, args...).
		WithHint("copy it whole, as redflag token create printed it")
}

// NewSecret draws a secret of 130 bits, in letters and digits that survive a
// URL, a shell and a dictation.
func NewSecret() string { return rand.Text() }

// HashSecret returns the SHA-256 of a secret, which is all that a server
// keeps. A secret of NewSecret is too long to be guessed from it.
func HashSecret(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}
