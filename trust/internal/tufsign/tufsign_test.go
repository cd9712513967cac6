package tufsign_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"redflag/trust"
	"redflag/trust/internal/tufsign"
)

// hidden is a key of which only the crypto.Signer shows, as with a token.
type hidden struct{ crypto.Signer }

func TestSign(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	for _, key := range []crypto.Signer{ed, hidden{ed}, p256, hidden{p256}} {
		root := metadata.Root(time.Now().Add(time.Hour).UTC())
		public, err := metadata.KeyFromPublicKey(key.Public())
		require.NoError(t, err)
		for _, role := range metadata.TOP_LEVEL_ROLE_NAMES {
			require.NoError(t, root.Signed.AddKey(public, role))
		}
		signed, err := tufsign.Sign(root, key)
		require.NoError(t, err)
		require.NoError(t, trust.CheckRootUpdate(nil, signed))
	}
}

func TestSignRefusesOtherKeys(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	big, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	for _, key := range []crypto.Signer{p384, big} {
		_, err := tufsign.Sign(metadata.Targets(time.Now()), key)
		require.Error(t, err)
	}
}
