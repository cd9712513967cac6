package agent

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust"
	"redflag/trust/pki"
	"redflag/trust/trusttest"
)

func TestEnrolmentRefusals(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1", "eu")
	other := newCluster(t)
	token := pki.RegistrationToken{ID: "t-1", Secret: secret, CA: c.authority.PublicKey()}
	rootFile := func(root []byte) string {
		path := filepath.Join(t.TempDir(), "root.json")
		require.NoError(t, os.WriteFile(path, root, 0o600))
		return path
	}
	for name, tc := range map[string]struct {
		change func(cfg *Config)
		want   string
	}{
		"no token":    {func(cfg *Config) { cfg.Token = "" }, "no token is configured"},
		"no region":   {func(cfg *Config) { cfg.Region = "" }, "no region is configured"},
		"no node":     {func(cfg *Config) { cfg.Nodes = nil }, "no node is configured"},
		"broken text": {func(cfg *Config) { cfg.Token = cfg.Token[:40] }, "registration token"},
		"no pin":      {func(cfg *Config) { cfg.Token = token.Encode() }, "pins no TUF root"},
		"wrong secret": {func(cfg *Config) {
			wrong := token
			wrong.Secret, wrong.RootHash = "guess", trust.RootHash(c.repo.Root())
			cfg.Token = wrong.Encode()
		}, "the token is not valid"},
		"wrong pin": {func(cfg *Config) {
			wrong := token
			wrong.RootHash = trust.RootHash(other.repo.Root())
			cfg.Token = wrong.Encode()
		}, "the token pins"},
		"file against token": {func(cfg *Config) { cfg.RootFile = rootFile(other.repo.Root()) }, "the token pins"},
		"no root at all":     {func(cfg *Config) { cfg.RootFile = rootFile([]byte("{}")) }, "root"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := c.config()
			tc.change(&cfg)
			a, err := New(cfg)
			require.NoError(t, err)
			err = a.Run(t.Context())
			require.ErrorContains(t, err, tc.want)
			require.NotEqual(t, api.CodeInternal, api.CodeOf(err))
			require.NotContains(t, err.Error(), secret)
			require.NoFileExists(t, filepath.Join(cfg.DataDir, "identity", "cert.pem"))
		})
	}
}

func TestEnrolmentWaitsForANode(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	cfg := c.config()
	stranger := newCluster(t).node("n1", "eu") // its certificate is not the token's
	cfg.Nodes = []string{stranger.addr.Addr}
	a, err := New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.NoError(t, a.Run(ctx), "the end was asked for")
	require.Zero(t, stranger.c.enrolled, "the secret was not told to a stranger")
}

func TestEnrolledNameHolds(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1", "eu")
	cfg := c.config()
	stop := start(t, cfg)
	require.Eventually(t, func() bool { return c.count() > 0 }, 10*time.Second, time.Millisecond)
	stop()
	cfg.ID = "a2"
	a, err := New(cfg)
	require.NoError(t, err)
	require.ErrorContains(t, a.Run(t.Context()), "is enrolled as a1")
}

// TestCertificateOfAClockThatWasAhead: no node takes the agent's certificate before it
// begins, and one gives it another.
func TestCertificateOfAClockThatWasAhead(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.node("n1", "eu")
	c.ahead = 24 * time.Hour
	start(t, c.config())
	require.Eventually(t, func() bool { return c.count() > 1 }, 20*time.Second, time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	require.Equal(t, 1, c.renewed)
}

// TestRootMayComeLater enrols before the cluster has a root: only the pinned
// one is believed when it comes.
func TestRootMayComeLater(t *testing.T) {
	repo := trusttest.NewRepository(t)
	dir := t.TempDir()
	var served []byte
	fetch := func(ctx context.Context, name string, limit int64) ([]byte, error) {
		switch {
		case name == "1.root.json" && served == nil:
			return nil, api.Errorf(api.CodeNotFound, "there is no root")
		case name == "1.root.json":
			return served, nil
		default:
			return repo.Fetch(ctx, name, limit)
		}
	}
	s := newSignatures(dir, fetch)
	require.NoError(t, s.pinRoot(trust.RootHash(repo.Root()), nil))
	_, err := s.target(t.Context(), "app/1.0")
	require.ErrorContains(t, err, "no trusted root")
	require.Equal(t, api.ErrorVerify, classOf(err))

	served = trusttest.NewRepository(t).Root()
	_, err = s.target(t.Context(), "app/1.0")
	require.ErrorContains(t, err, "was pinned")
	require.Equal(t, api.ErrorVerify, classOf(err))

	served = repo.Root()
	_, err = s.target(t.Context(), "app/1.0")
	require.ErrorIs(t, err, trust.ErrUnknownTarget)
}

func TestConfigValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no directory":  func(c *Config) { c.DataDir = "" },
		"bad id":        func(c *Config) { c.ID = "../x" },
		"bad region":    func(c *Config) { c.Region = "eu west" },
		"bad label":     func(c *Config) { c.Labels = map[string]string{"a b": "c"} },
		"bad node":      func(c *Config) { c.Nodes = []string{"localhost"} },
		"no host":       func(c *Config) { c.Nodes = []string{":7420"} },
		"bad address":   func(c *Config) { c.SwarmAddr = "7420" },
		"negative rate": func(c *Config) { c.UploadLimit = -1 },
	} {
		cfg := Config{DataDir: "x", ID: "a1", Region: "eu", Nodes: []string{"localhost:7420"}}
		require.NoError(t, cfg.Validate())
		change(&cfg)
		_, err := New(cfg)
		require.Equal(t, api.CodeInvalid, api.CodeOf(err), name)
		require.ErrorContains(t, err, "(", name+": it says what to do")
	}
}
