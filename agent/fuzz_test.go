package agent

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust/pki"
)

// testCredentials are those of an agent of a cluster of its own.
func testCredentials(tb testing.TB) *pki.Credentials {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "identity")
	authority, err := pki.NewAuthority("c1", time.Now())
	require.NoError(tb, err)
	key, err := pki.LoadOrCreateKey(filepath.Join(dir, pki.KeyFile))
	require.NoError(tb, err)
	csr, err := pki.NewCSR(key)
	require.NoError(tb, err)
	cert, err := authority.Sign(csr, pki.Identity{ClusterID: "c1", Role: pki.RoleAgent, ID: "a1", Region: "eu"}, time.Hour, time.Now())
	require.NoError(tb, err)
	require.NoError(tb, pki.SaveCredentials(dir, cert, authority.CertificatePEM()))
	creds, err := pki.LoadCredentials(dir)
	require.NoError(tb, err)
	return creds
}

// FuzzPollReply feeds the agent what a node could answer.
func FuzzPollReply(f *testing.F) {
	f.Add([]byte(`{"commands":[{"id":"r1:a1","kind":"install","artifact":"app","version":"1"}],"next_poll":"5s"}`))
	f.Add([]byte(`{"commands":[{"id":"","agent_id":"x"}],"accepted":["x"],"rejected":[{"id":"y"}],"next_poll":"-1s"}`))
	f.Add([]byte(`{"nodes":[{"id":"n1","addr":":"},{"id":"n2","addr":"h:1"}],"settings":{"download_limit":"1bit"},"index":18446744073709551615}`))
	j, err := openJournal(filepath.Join(f.TempDir(), "journal.db"))
	require.NoError(f, err)
	f.Cleanup(func() { _ = j.close() })
	j.db.NoSync = true
	cfg := Config{Logger: hclog.NewNullLogger()}
	member, err := newMembership(f.TempDir(), testCredentials(f), "", &clock{path: filepath.Join(f.TempDir(), "clock"), wall: time.Now}, cfg.Logger)
	require.NoError(f, err)
	p := &poller{
		trust: member,
		id:    "a1", journal: j, limits: newLimits(&cfg), log: cfg.Logger, now: make(chan struct{}, 1),
		mesh:     &mesh{nodes: newNodeList("eu", nil, nil)},
		executor: newExecutor(j, nil, nil, nil, cfg.Logger, func() {}),
		keep:     func(learnt) error { return nil },
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		var resp api.PollResponse
		if json.Unmarshal(reply, &resp) != nil {
			return
		}
		require.NoError(t, p.absorb(&api.PollRequest{Reports: []api.Report{{ID: "y", CommandID: "r1:a1"}}}, &resp))
		next := nextPoll(resp.NextPoll)
		require.GreaterOrEqual(t, next, pollGap)
		require.LessOrEqual(t, next, pollLimit)
		for _, n := range p.mesh.nodes.order() {
			require.NoError(t, checkAddr(n.Addr))
		}
	})
}
