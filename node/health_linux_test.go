package node

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"redflag/api"
	"redflag/telemetry/logstore"
	"redflag/trust/pki"
)

// mount puts a small file system of its own on dir, for as long as r runs.
func mount(t *testing.T, dir, size string) (ends func(r *running)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a file system of its own to fill")
	}
	require.NoError(t, os.MkdirAll(dir, 0o700))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("no file system can be mounted here: %v", err)
	}
	return func(r *running) {
		t.Cleanup(func() { // after the node: clean-ups run last in, first out
			r.stop()
			require.NoError(t, unix.Unmount(dir, 0))
		})
	}
}

// A log store whose disk is full, and is freed again.
func TestHealthSeesALogThatCannotBeKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	logs := filepath.Join(dir, "logs")
	ends := mount(t, logs, "8m")
	r := startWith(t, func(c *Config) { c.DataDir = dir })
	ends(r)
	r.becomes("logs", api.StatusOK)
	free, _, err := diskSpace(logs)
	require.NoError(t, err)
	filler := filepath.Join(logs, "filler")
	require.NoError(t, os.WriteFile(filler, make([]byte, free), 0o600))
	first := uint64(1)
	add := func() error {
		b := logstore.Batch{Source: "a1", Spool: "s1", First: first}
		for range 100 {
			b.Lines = append(b.Lines, fmt.Appendf(nil, `{"@message":"%s"}`, strings.Repeat("word ", 200)))
		}
		err := r.node.logs.store.Add(t.Context(), b)
		if err == nil {
			first += 100
		}
		return err
	}
	require.True(t, eventually(func() bool { return add() != nil }), "a full disk takes no lines")
	require.Contains(t, r.becomes("logs", api.StatusWarn).Detail, "lines cannot be kept")
	require.NoError(t, os.Remove(filler))
	require.NoError(t, add(), "nobody was told that these lines are kept, so they come again")
	r.becomes("logs", api.StatusOK)
}

// A disk that really fills up, and is freed again.
func TestHealthSeesAFullDisk(t *testing.T) {
	dir := t.TempDir()
	ends := mount(t, dir, "256m")
	r := startWith(t, func(c *Config) { c.DataDir = filepath.Join(dir, "node") })
	ends(r)
	r.set(map[api.SettingKey]string{api.SettingHealthDiskFree: "16MiB"})
	r.becomes("disk", api.StatusOK)
	filler := filepath.Join(dir, "filler")
	fill := func(leave int64) {
		free, _, err := diskSpace(dir)
		require.NoError(t, err)
		f, err := os.Create(filler)
		require.NoError(t, err)
		defer f.Close()
		block := make([]byte, 1<<20)
		for ; free > leave; free -= int64(len(block)) {
			_, err := f.Write(block)
			require.NoError(t, err)
		}
	}
	fill(40 << 20)
	r.becomes("disk", api.StatusWarn)
	require.NoError(t, os.Remove(filler))
	fill(8 << 20)
	r.becomes("disk", api.StatusCritical)
	require.False(t, r.node.health().Serving)
	require.NoError(t, os.Remove(filler))
	r.becomes("disk", api.StatusOK)
	require.True(t, r.node.health().Serving)
}

// A certificate that really ends, since the disk of the identity is full and the
// next one cannot be kept; with room again the node renews it by itself.
func TestHealthSeesACertificateThatCannotBeRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	identity := filepath.Join(dir, "identity")
	ends := mount(t, identity, "1m")
	r := startWith(t, func(c *Config) { c.DataDir = dir })
	ends(r)
	r.becomes("certificates", api.StatusOK)
	r.set(map[api.SettingKey]string{api.SettingCertificateLife: "10s"}) // the next one's
	csr, err := r.node.creds.CSR()
	require.NoError(t, err)
	cert, _, err := r.node.certify(csr, pki.RoleNode, r.node.cfg.ID, r.node.cfg.Region)
	require.NoError(t, err)
	require.NoError(t, r.node.creds.Renew(cert, nil))
	stranger := func() error {
		c := r.stranger()
		return c.Do(t.Context(), http.MethodGet, "/v1/health", nil, nil)
	}
	require.NoError(t, stranger())

	free, _, err := diskSpace(identity)
	require.NoError(t, err)
	filler := filepath.Join(identity, "filler")
	require.NoError(t, os.WriteFile(filler, make([]byte, free), 0o600))
	c := r.becomes("certificates", api.StatusCritical)
	require.Contains(t, c.Detail, "this node's certificate expired on")
	require.ErrorContains(t, stranger(), "expired", "nobody speaks to it any more")

	require.NoError(t, os.Remove(filler))
	r.becomes("certificates", api.StatusOK)
	require.True(t, eventually(func() bool { return stranger() == nil }), "it has a certificate again")
	require.True(t, r.node.health().Serving)
}
