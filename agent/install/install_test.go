package install

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/agent/install/installtest"
	"redflag/agent/process"
	"redflag/api"
)

func TestDebUpgradesAndGoesBack(t *testing.T) {
	b := newBox(t)
	b.NeedDpkg(t)
	old, next := installtest.Deb(t, "1.0"), installtest.Deb(t, "2.0")
	require.NoError(t, b.install(t, recordFor(api.InstallDeb, "1.0", old), old))
	require.Equal(t, "1.0", b.DpkgVersion(t))
	require.NoError(t, b.install(t, recordFor(api.InstallDeb, "2.0", next), next))
	require.Equal(t, "2.0", b.DpkgVersion(t))

	store := b.engine(t).Store
	cur, err := store.Current("app")
	require.NoError(t, err)
	prev, err := store.Previous("app")
	require.NoError(t, err)
	b.begin(t, Progress{New: *prev, Old: cur, Kept: true})
	require.NoError(t, b.work(t, nil, nil))
	require.Equal(t, "1.0", b.DpkgVersion(t), "a rollback by command")

	broken := []byte("not a package")
	require.Error(t, b.install(t, recordFor(api.InstallDeb, "3.0", broken), broken))
	require.Equal(t, "1.0", b.DpkgVersion(t))
}

func TestDebFirstInstallGoesBackToNothing(t *testing.T) {
	b := newBox(t)
	b.NeedDpkg(t)
	payload := installtest.Deb(t, "1.0")
	r := recordFor(api.InstallDeb, "1.0", payload)
	r.Install.Checks, r.Install.CheckWithin = []api.HealthCheck{{Kind: api.CheckCommand, Target: "echo the reason; exit 1"}}, api.Duration(50*time.Millisecond)
	err := b.install(t, r, payload)
	var back *RolledBackError
	require.ErrorAs(t, err, &back)
	require.Equal(t, api.ErrorHealth, back.Class())
	require.Contains(t, back.Cause.Message, "the reason", "the report carries the output")
	require.Equal(t, "none", b.DpkgVersion(t))
}

func TestHealthGate(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ok" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	defer web.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	open := ln.Addr().String()
	for check, well := range map[string]bool{
		"command:true":             true,
		"command:false":            false,
		"http:" + web.URL + "/ok":  true,
		"http:" + web.URL + "/bad": false,
		"tcp:" + open:              true,
		"tcp:127.0.0.1:1":          false,
		"unit:no-such.service":     false,
	} {
		c, err := api.ParseHealthCheck(check)
		require.NoError(t, err)
		require.Equal(t, well, once(t.Context(), c, &process.Tail{}) == nil, check)
	}
	require.NoError(t, ln.Close())
}

// TestGateWaitsForAService passes once a service that is slow has come up.
func TestGateWaitsForAService(t *testing.T) {
	b := newBox(t)
	r := recordFor(api.InstallFile, "1.0", []byte("x"))
	r.Install.CheckWithin = api.Duration(20 * time.Second)
	r.Install.Checks = []api.HealthCheck{{Kind: api.CheckCommand, Target: "cd " + b.Dir + " && { test -e second || { test -e first && : > second; : > first; exit 1; }; }"}}
	require.NoError(t, b.install(t, r, []byte("x")))
	require.FileExists(t, b.Path("second"))
}

func TestFileFirstInstallGoesBackToNothing(t *testing.T) {
	b := newBox(t)
	r := recordFor(api.InstallFile, "1.0", []byte("x"))
	r.Install.Checks, r.Install.CheckWithin = []api.HealthCheck{{Kind: api.CheckTCP, Target: "127.0.0.1:1"}}, api.Duration(50*time.Millisecond)
	var back *RolledBackError
	require.ErrorAs(t, b.install(t, r, []byte("x")), &back)
	_, err := os.Lstat(b.Path("artifacts", "app", "current"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestBundleThatRefusesChangesNothing(t *testing.T) {
	b := newBox(t)
	payload := installtest.Bundle(t, map[string]string{"pre": "#!/bin/sh\necho no room; exit 3\n", "install": "#!/bin/sh\n: > ../../../../touched\n"})
	err := b.install(t, recordFor(api.InstallExec, "1.0", payload), payload)
	require.ErrorContains(t, err, "no room")
	var back *RolledBackError
	require.False(t, strings.Contains(err.Error(), "restored"))
	require.NotErrorAs(t, err, &back)
	require.NoFileExists(t, b.Path("touched"))
}

// TestScriptsDoNotSeeTheAgentsSecrets keeps the token out of what others run.
func TestScriptsDoNotSeeTheAgentsSecrets(t *testing.T) {
	t.Setenv("REDFLAG_TOKEN", "secret")
	var out process.Tail
	require.NoError(t, once(t.Context(), api.HealthCheck{Kind: api.CheckCommand, Target: "env"}, &out))
	require.NotContains(t, out.String(), "secret")
}

func TestSelfThatDoesNotPollChangesNothing(t *testing.T) {
	b := newBox(t)
	require.NoError(t, os.WriteFile(b.Path("base"), []byte("0.9"), 0o755))
	require.NoError(t, b.install(t, recordFor(api.InstallSelf, "1.0", []byte("1.0")), []byte("1.0")))
	next, err := Successor(b.Path("artifacts"), b.Path("base"))
	require.NoError(t, err)
	require.Equal(t, "1.0", read(t, next))
	require.NoError(t, os.WriteFile(b.Path("base"), []byte("a package upgrade"), 0o755))
	next, err = Successor(b.Path("artifacts"), b.Path("base"))
	require.NoError(t, err)
	require.Empty(t, next, "what the package brings wins")
}
