package node

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"net/http"

	"redflag/api"
)

const (
	headerIdempotency = "Idempotency-Key"
	maxIdempotencyKey = 255
)

// onceKey is what a caller's Idempotency-Key stands for: the id, and the secret
// if there is one, of what it creates. Both are derived with a key that every
// node has, so that a repeat names the same thing on any of them, and what was
// created is its own record: nothing else has to be kept, nor to expire.
type onceKey struct{ id, secret string }

// once reads the request's Idempotency-Key; it is nil if there is none.
func (n *Node) once(r *http.Request) (*onceKey, error) {
	key := r.Header.Get(headerIdempotency)
	if key == "" {
		return nil, nil //nolint:nilnil // no key is no error
	}
	if len(key) > maxIdempotencyKey {
		return nil, api.Errorf(api.CodeInvalid, "the %s is too long", headerIdempotency).WithHint("use %d bytes at most, such as a UUID", maxIdempotencyKey)
	}
	derive, err := hkdf.Key(sha256.New, n.sealingKey, nil, "redflag idempotency", sha256.Size)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, derive)
	for _, part := range []string{operator(r), r.Pattern, key} {
		_, _ = mac.Write(append([]byte(part), 0))
	}
	sum := mac.Sum(nil)
	return &onceKey{
		id:     hex.EncodeToString(sum[:8]),
		secret: base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[8:]),
	}, nil
}
