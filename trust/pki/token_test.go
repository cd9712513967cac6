package pki

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func newToken(tb testing.TB) RegistrationToken {
	tb.Helper()
	return RegistrationToken{
		ID:       "tok.1",
		Secret:   NewSecret(),
		CA:       newAuthorityFor(tb, "c1").PublicKey(),
		RootHash: strings.Repeat("0f", 32),
	}
}

func TestRegistrationToken(t *testing.T) {
	token := newToken(t)
	bare := token
	bare.RootHash = ""
	for _, want := range []RegistrationToken{token, bare} {
		got, err := ParseRegistrationToken(" " + want.Encode() + "\n")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		require.Equal(t, "RegistrationToken(tok.1)", fmt.Sprintf(verb, token))
		require.NotContains(t, fmt.Sprintf(verb, &token), token.Secret)
	}
	out, err := json.Marshal(token)
	require.NoError(t, err)
	require.NotContains(t, string(out), token.Secret, "a structured log would write it")
}

func TestDamagedRegistrationToken(t *testing.T) {
	token := newToken(t)
	good := token.Encode()
	for name, s := range map[string]string{
		"nothing":          "",
		"another kind":     "rf2" + good[3:],
		"cut short":        good[:len(tokenPrefix)+30],
		"cut in the hash":  good[:len(good)-2],
		"a field missing":  tokenPrefix + token.Secret,
		"capital hash":     good[:len(good)-64] + strings.Repeat("0F", 32),
		"line break":       strings.Replace(good, ".", ".\n", 3),
		"break in the key": good[:len(good)-70] + "\n" + good[len(good)-70:],
		"space inside":     strings.Replace(good, "tok", "to k", 1),
		"far too long":     good + strings.Repeat("0", maxToken),
	} {
		_, err := ParseRegistrationToken(s)
		require.Equal(t, api.CodeInvalid, api.CodeOf(err), name)
		require.NotContains(t, err.Error(), token.Secret, name)
		require.ErrorContains(t, err, "redflag token create", name)
	}
}

func FuzzParseRegistrationToken(f *testing.F) {
	f.Add(newToken(f).Encode())
	f.Add("rf1.a.b.c.d")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := ParseRegistrationToken(s)
		if err != nil {
			return
		}
		require.Equal(t, strings.TrimSpace(s), token.Encode())
		_, err = TrustAnchor(token.CA)
		require.NoError(t, err)
	})
}

func TestSecrets(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	require.NotEqual(t, a, b)
	require.GreaterOrEqual(t, len(a), 26, "five bits each: at least 128")
	require.True(t, api.ValidID(a))
	require.Len(t, HashSecret(a), 32)
	require.Equal(t, HashSecret(a), HashSecret(a))
	require.NotEqual(t, HashSecret(a), HashSecret(b))
}

func TestSealer(t *testing.T) {
	key := GenerateSealingKey()
	s, err := NewSealer(key)
	require.NoError(t, err)
	sealed, err := s.Seal([]byte("hush"), "ca")
	require.NoError(t, err)
	require.NotContains(t, string(sealed), "hush")
	again, err := s.Seal([]byte("hush"), "ca")
	require.NoError(t, err)
	require.NotEqual(t, sealed, again, "equal secrets do not look equal")

	reopened, err := NewSealer(key)
	require.NoError(t, err)
	plain, err := reopened.Open(sealed, "ca")
	require.NoError(t, err)
	require.Equal(t, "hush", string(plain))

	other, err := NewSealer(GenerateSealingKey())
	require.NoError(t, err)
	_, err = other.Open(sealed, "ca")
	require.ErrorIs(t, err, ErrUnseal)
	_, err = s.Open(sealed, "timestamp")
	require.ErrorIs(t, err, ErrUnseal)
	for i := range sealed {
		damaged := append([]byte(nil), sealed...)
		damaged[i] ^= 1
		_, err = s.Open(damaged, "ca")
		require.ErrorIs(t, err, ErrUnseal, "byte %d", i)
		_, err = s.Open(sealed[:i], "ca")
		require.ErrorIs(t, err, ErrUnseal, "cut at %d", i)
	}

	_, err = s.Seal([]byte("hush"), "")
	require.Error(t, err)
	_, err = NewSealer(key[:16])
	require.Error(t, err)
	require.Equal(t, "Sealer", fmt.Sprintf("%+v", s))
}
