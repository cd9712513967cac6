package pki

import (
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestLoadOrCreateKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", KeyFile)
	key, err := LoadOrCreateKey(path)
	require.NoError(t, err)
	again, err := LoadOrCreateKey(path)
	require.NoError(t, err)
	require.Equal(t, key, again)
	st, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file stays")

	require.NoError(t, os.Chmod(path, 0o640))
	_, err = LoadOrCreateKey(path)
	require.Equal(t, api.CodeInvalid, api.CodeOf(err))
	require.ErrorContains(t, err, "chmod 600")

	require.NoError(t, os.Chmod(path, 0o600))
	for name, content := range map[string][]byte{
		"empty":         nil,
		"noise":         []byte("noise"),
		"not PKCS #8":   pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: []byte("SECRET")}),
		"wrong type":    pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: []byte("SECRET")}),
		"far too large": make([]byte, maxFile+1),
	} {
		require.NoError(t, os.WriteFile(path, content, 0o600))
		_, err = LoadOrCreateKey(path)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), "SECRET")
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, len(content), len(kept), "a damaged key is not replaced")
	}
}

func TestCredentialsFiles(t *testing.T) {
	a, other := newAuthorityFor(t, "c1"), newAuthorityFor(t, "c1")
	dir, csr := newKeyDir(t)
	_, err := LoadCredentials(filepath.Join(dir, "absent"))
	require.ErrorIs(t, err, ErrNotEnrolled)
	_, err = LoadCredentials(dir)
	require.ErrorIs(t, err, ErrNotEnrolled)

	cert, err := a.Sign(csr, member("c1", RoleNode), time.Hour, time.Now())
	require.NoError(t, err)
	_, foreignCSR := newKeyDir(t)
	foreign, err := a.Sign(foreignCSR, member("c1", RoleNode), time.Hour, time.Now())
	require.NoError(t, err)
	elsewhere := newAuthorityFor(t, "c2")

	for name, tc := range map[string]struct{ cert, ca []byte }{
		"another key":             {foreign, a.CertificatePEM()},
		"another authority":       {cert, other.CertificatePEM()},
		"authority of another":    {cert, append(a.CertificatePEM(), elsewhere.CertificatePEM()...)},
		"two certificates":        {append(slices.Clip(cert), foreign...), a.CertificatePEM()},
		"no certificate":          {nil, a.CertificatePEM()},
		"no authority":            {cert, nil},
		"key in the place of one": {pem.EncodeToMemory(&pem.Block{Type: pemKey}), a.CertificatePEM()},
	} {
		require.Error(t, SaveCredentials(dir, tc.cert, tc.ca), name)
		_, err = LoadCredentials(dir)
		require.ErrorIs(t, err, ErrNotEnrolled, name)
	}
	require.Error(t, SaveCredentials(t.TempDir(), cert, a.CertificatePEM()), "no key to go with")

	require.NoError(t, SaveCredentials(dir, cert, a.CertificatePEM()))
	c, err := LoadCredentials(dir)
	require.NoError(t, err)
	require.Equal(t, member("c1", RoleNode), c.Identity())
	require.Equal(t, a.CertificatePEM(), c.Authorities())

	// A damaged directory does not take away what is in use.
	require.NoError(t, os.WriteFile(filepath.Join(dir, certificateFile), foreign, 0o600))
	require.Error(t, c.Reload())
	require.Equal(t, member("c1", RoleNode), c.Identity())
	require.NoError(t, os.Remove(filepath.Join(dir, certificateFile)))
	require.ErrorIs(t, c.Reload(), ErrNotEnrolled)
}
