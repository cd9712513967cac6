package pki

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// maxSession bounds a session's cookie, in bytes; ours have about 250.
const maxSession = 2048

// ErrSession says that a cookie is none of the cluster's, or has ended.
var ErrSession = errors.New("the session has ended")

// SessionClaims is what a browser session's cookie carries.
type SessionClaims struct {
	Operator string    `json:"o"`
	Secret   string    `json:"s"` // stands for the token: a new one for the name ends its sessions
	Expires  time.Time `json:"e"`
	Nonce    string    `json:"n"`
}

// Sessions signs cookies with keys that every node derives from the sealing key,
// so that any of them knows a session. It is safe for concurrent use.
type Sessions struct{ cookie, csrf []byte }

// NewSessions takes a key of GenerateSealingKey.
func NewSessions(sealingKey []byte) (*Sessions, error) {
	s := &Sessions{}
	for purpose, into := range map[string]*[]byte{"cookie": &s.cookie, "csrf": &s.csrf} {
		key, err := hkdf.Key(sha256.New, sealingKey, nil, "redflag session "+purpose, sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive session key: %w", err)
		}
		*into = key
	}
	return s, nil
}

// Seal returns a cookie's value.
func (s *Sessions) Seal(c SessionClaims) (string, error) {
	b, err := json.Marshal(c) //nolint:gosec // Secret is a fingerprint
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(b)
	return text + "." + mac(s.cookie, text), nil
}

// Open is the inverse of Seal, or ErrSession.
func (s *Sessions) Open(value string, now time.Time) (c SessionClaims, err error) {
	if len(value) > maxSession {
		return c, ErrSession
	}
	text, sum, _ := strings.Cut(value, ".")
	if !hmac.Equal([]byte(sum), []byte(mac(s.cookie, text))) {
		return c, ErrSession
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(b, &c) != nil || !now.Before(c.Expires) {
		return SessionClaims{}, ErrSession
	}
	return c, nil
}

// CSRF returns the token that goes with a session.
func (s *Sessions) CSRF(c SessionClaims) string { return mac(s.csrf, c.Nonce) }

// IsCSRF compares without telling by its time how much of a guess was right.
func (s *Sessions) IsCSRF(c SessionClaims, token string) bool {
	return hmac.Equal([]byte(token), []byte(s.CSRF(c)))
}

// Format implements fmt.Formatter: no verb prints the keys.
func (s *Sessions) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "Sessions") }

func mac(key []byte, text string) string {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// operatorPrefix tells an operator's token from the founder's, which has no
// name in it.
const operatorPrefix = "rfo."

// OperatorToken returns an operator's API token. The text is a secret.
func OperatorToken(id, secret string) string { return operatorPrefix + id + "." + secret }

// SplitOperatorToken returns the parts of an operator's token; an id may have
// dots. It is not ok for any other text, such as the founder's token.
func SplitOperatorToken(token string) (id, secret string, ok bool) {
	rest, ok := strings.CutPrefix(token, operatorPrefix)
	i := strings.LastIndexByte(rest, '.')
	if !ok || i < 0 {
		return "", "", false
	}
	return rest[:i], rest[i+1:], true
}
