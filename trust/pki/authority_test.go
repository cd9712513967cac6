package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func tlsPair(t *testing.T, dir string, cert []byte) tls.Certificate {
	t.Helper()
	certs, err := parseCertificates(cert)
	require.NoError(t, err)
	key, err := loadKey(filepath.Join(dir, KeyFile))
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{certs[0].Raw}, PrivateKey: key}
}

func TestAuthorityRoundTrip(t *testing.T) {
	now := time.Now()
	a, err := NewAuthority("c1", now)
	require.NoError(t, err)
	key, err := a.MarshalKey()
	require.NoError(t, err)
	again, err := ParseAuthority(a.CertificatePEM(), key)
	require.NoError(t, err)
	require.Equal(t, "c1", again.ClusterID())
	require.Equal(t, a.PublicKey(), again.PublicKey())
	require.WithinDuration(t, now.Add(authorityLife), a.cert.NotAfter, time.Second)
	require.True(t, a.cert.MaxPathLenZero)
	require.NoError(t, a.cert.CheckSignatureFrom(a.cert))
	id, err := KeyID(a.PublicKey())
	require.NoError(t, err)
	require.Equal(t, id, CertificateKeyID(a.cert))

	other := newAuthorityFor(t, "c1")
	_, err = ParseAuthority(other.CertificatePEM(), key)
	require.Error(t, err, "a certificate of another key")
	_, err = ParseAuthority(append(a.CertificatePEM(), other.CertificatePEM()...), key)
	require.Error(t, err)
	_, err = ParseAuthority(a.CertificatePEM(), []byte("no key"))
	require.Error(t, err)
	_, err = ParseAuthority([]byte("no certificate"), key)
	require.Error(t, err)

	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		require.Equal(t, "Authority(c1)", fmt.Sprintf(verb, a))
	}
	for _, id := range []string{"", "../c1", "c1.", "a..b", "c1/x", string(make([]byte, 200))} {
		_, err := NewAuthority(id, now)
		require.Equal(t, api.CodeInvalid, api.CodeOf(err), id)
	}
}

func TestMembersAreNoAuthorities(t *testing.T) {
	a := newAuthorityFor(t, "c1")
	dir, csr := newKeyDir(t)
	cert, err := a.Sign(csr, member("c1", RoleNode), time.Hour, time.Now())
	require.NoError(t, err)
	key, err := x509.MarshalPKCS8PrivateKey(tlsPair(t, dir, cert).PrivateKey)
	require.NoError(t, err)
	_, err = ParseAuthority(cert, key)
	require.ErrorIs(t, err, errNoAuthority)
	require.ErrorIs(t, SaveCredentials(dir, cert, cert), errNoAuthority)
}

func TestSignIgnoresNamesInTheRequest(t *testing.T) {
	a := newAuthorityFor(t, "c1")
	key := newKey(t)
	wish, err := url.Parse("spiffe://c1/eu/node/n1")
	require.NoError(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		DNSNames: []string{NodeServerName}, URIs: []*url.URL{wish},
	}, key)
	require.NoError(t, err)

	now := time.Now()
	out, err := a.Sign(csr, member("c1", RoleAgent), time.Hour, now)
	require.NoError(t, err)
	certs, err := parseCertificates(out)
	require.NoError(t, err)
	cert := certs[0]
	require.Equal(t, []string{SwarmServerName}, cert.DNSNames)
	require.Equal(t, "spiffe://c1/eu-west/agent/agent1", cert.URIs[0].String())
	require.Len(t, cert.URIs, 1)
	require.False(t, cert.IsCA)
	require.WithinDuration(t, now.Add(time.Hour), cert.NotAfter, time.Second)
	require.True(t, cert.NotBefore.Before(now.Add(-time.Minute)))

	want, err := KeyID(key.Public())
	require.NoError(t, err)
	got, err := CSRKeyID(csr)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.Len(t, got, 64)
}

func TestSignRefuses(t *testing.T) {
	a := newAuthorityFor(t, "c1")
	agent := member("c1", RoleAgent)
	now := time.Now()
	good, err := NewCSR(newKey(t))
	require.NoError(t, err)
	tampered := append([]byte(nil), good...)
	tampered[len(tampered)-1] ^= 1
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	foreign, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, ec)
	require.NoError(t, err)

	for name, csr := range map[string][]byte{
		"nothing": nil, "noise": []byte("noise"), "bad signature": tampered, "another algorithm": foreign,
		"trailing bytes": append(slices.Clip(good), 0),
		"too large":      append(slices.Clip(good), make([]byte, maxCSR)...),
	} {
		_, err := a.Sign(csr, agent, time.Hour, now)
		require.Equal(t, api.CodeInvalid, api.CodeOf(err), name)
		_, err = CSRKeyID(csr)
		require.Equal(t, api.CodeInvalid, api.CodeOf(err), name)
	}
	for name, id := range map[string]Identity{
		"role":   {ClusterID: "c1", Role: "root", ID: "a", Region: "eu"},
		"id":     {ClusterID: "c1", Role: RoleAgent, ID: "a/../b", Region: "eu"},
		"region": {ClusterID: "c1", Role: RoleAgent, ID: "a"},
	} {
		_, err := a.Sign(good, id, time.Hour, now)
		require.Equal(t, api.CodeInvalid, api.CodeOf(err), name)
	}
	_, err = a.Sign(good, member("c2", RoleAgent), time.Hour, now)
	require.ErrorIs(t, err, errWrongCluster)
	_, err = a.Sign(good, agent, 0, now)
	require.Equal(t, api.CodeInvalid, api.CodeOf(err))
	_, err = a.Sign(good, agent, time.Hour, now.Add(2*authorityLife))
	require.Equal(t, api.CodeInvalid, api.CodeOf(err), "the authority has expired")

	out, err := a.Sign(good, agent, 2*authorityLife, now)
	require.NoError(t, err)
	certs, err := parseCertificates(out)
	require.NoError(t, err)
	require.Equal(t, a.cert.NotAfter, certs[0].NotAfter, "no certificate outlives its authority")
}

func FuzzSign(f *testing.F) {
	a := newAuthorityFor(f, "c1")
	csr, err := NewCSR(newKey(f))
	require.NoError(f, err)
	f.Add(csr)
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, csr []byte) {
		out, err := a.Sign(csr, member("c1", RoleAgent), time.Hour, time.Now())
		if err != nil {
			require.Equal(t, api.CodeInvalid, api.CodeOf(err))
			return
		}
		certs, err := parseCertificates(out)
		require.NoError(t, err)
		id, err := identityOfCert(certs[0])
		require.NoError(t, err)
		require.Equal(t, member("c1", RoleAgent), id)
	})
}

func FuzzParseIdentity(f *testing.F) {
	f.Add("spiffe://c1/eu-west/agent/a1")
	f.Add("spiffe://u@c1:1/eu/node/n1?q#f")
	f.Add("spiffe://c1/eu%2Fx/node/n1")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := url.Parse(s)
		if err != nil {
			return
		}
		id, err := parseIdentity(u)
		if err != nil {
			return
		}
		require.NoError(t, id.Validate())
		require.Equal(t, u.String(), id.String())
	})
}

func TestParseIdentity(t *testing.T) {
	for s, ok := range map[string]bool{
		"spiffe://c1/eu-west/agent/a1":      true,
		"spiffe://C1.Example/eu/node/n+1_x": true,
		"SPIFFE://c1/eu-west/agent/a1":      true, // schemes have no case, and the parser lowers it
		"https://c1/eu/agent/a1":            false,
		"spiffe://c1/eu/admin/a1":           false,
		"spiffe://c1/eu/agent/a1/":          false,
		"spiffe://c1/eu/agent":              false,
		"spiffe://c1//agent/a1":             false,
		"spiffe://c1/eu/agent/..":           false,
		"spiffe://c1/eu/agent/a%31":         false,
		"spiffe://c1/eu/agent/a1?x":         false,
		"spiffe://c1/eu/agent/a1#x":         false,
		"spiffe://u@c1/eu/agent/a1":         false,
		"spiffe://c1:443/eu/agent/a1":       false,
		"spiffe:c1/eu/agent/a1":             false,
		"spiffe:///eu/agent/a1":             false,
	} {
		u, err := url.Parse(s)
		require.NoError(t, err, s)
		_, err = parseIdentity(u)
		require.Equal(t, ok, err == nil, s)
	}
}
