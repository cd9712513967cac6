package pki_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/trust/pki"
)

func newSessions(tb testing.TB, key []byte) *pki.Sessions {
	tb.Helper()
	s, err := pki.NewSessions(key)
	require.NoError(tb, err)
	return s
}

func TestSessions(t *testing.T) {
	key, now := pki.GenerateSealingKey(), time.Now().UTC()
	s := newSessions(t, key)
	claims := pki.SessionClaims{Operator: "ada", Secret: "x", Expires: now.Add(time.Hour), Nonce: "n"}
	cookie, err := s.Seal(claims)
	require.NoError(t, err)
	got, err := newSessions(t, key).Open(cookie, now) // at another node
	require.NoError(t, err)
	require.Equal(t, claims, got)
	require.True(t, s.IsCSRF(got, s.CSRF(claims)))
	require.False(t, s.IsCSRF(got, ""))
	other := claims
	other.Nonce = "m"
	require.False(t, s.IsCSRF(other, s.CSRF(claims)), "each session has its own")

	_, err = s.Open(cookie, now.Add(time.Hour))
	require.ErrorIs(t, err, pki.ErrSession)
	_, err = newSessions(t, pki.GenerateSealingKey()).Open(cookie, now)
	require.ErrorIs(t, err, pki.ErrSession, "of another cluster")
	text, sum, _ := strings.Cut(cookie, ".")
	for _, bad := range []string{"", ".", text, "." + sum, text + "x." + sum, cookie + "x", s.CSRF(claims), strings.Repeat("x", 3000)} {
		_, err = s.Open(bad, now)
		require.ErrorIs(t, err, pki.ErrSession, bad)
	}
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", s, s, s), string(key))
}

// FuzzOpenSession: a cookie that opens is one that was sealed.
func FuzzOpenSession(f *testing.F) {
	now := time.Now()
	s := newSessions(f, make([]byte, 32))
	cookie, err := s.Seal(pki.SessionClaims{Operator: "ada", Expires: now.Add(1000 * time.Hour).UTC().Truncate(time.Second)})
	require.NoError(f, err)
	f.Add(cookie)
	f.Add("a.b")
	f.Add("eyJvIjoiYWRhIn0." + strings.Repeat("A", 43))
	f.Fuzz(func(t *testing.T, value string) {
		c, err := s.Open(value, now)
		if err != nil {
			require.ErrorIs(t, err, pki.ErrSession)
			require.Zero(t, c)
			return
		}
		again, err := s.Seal(c)
		require.NoError(t, err)
		require.Equal(t, value, again)
	})
}

// FuzzSplitOperatorToken: what splits is put together again as it was.
func FuzzSplitOperatorToken(f *testing.F) {
	f.Add(pki.OperatorToken("a.b", "secret"))
	f.Add("rfo.")
	f.Add("rfo..")
	f.Fuzz(func(t *testing.T, token string) {
		if id, secret, ok := pki.SplitOperatorToken(token); ok {
			require.Equal(t, token, pki.OperatorToken(id, secret))
			require.NotContains(t, secret, ".")
		}
	})
}
