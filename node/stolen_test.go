package node

import (
	"crypto/tls"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust/pki"
)

// forged is a certificate that the cluster's own CA key has signed for a key that
// was never enrolled: what who once had a node can make.
func (r *running) forged(role pki.Role, id string) *pki.Credentials {
	r.t.Helper()
	dir := r.t.TempDir()
	key, err := pki.LoadOrCreateKey(filepath.Join(dir, pki.KeyFile))
	require.NoError(r.t, err)
	csr, err := pki.NewCSR(key)
	require.NoError(r.t, err)
	cert, cluster, err := r.node.certify(csr, role, id, "eu")
	require.NoError(r.t, err)
	require.NoError(r.t, pki.SaveCredentials(dir, cert, cluster.Authorities))
	creds, err := pki.LoadCredentials(dir)
	require.NoError(r.t, err)
	return creds
}

// refused reports whether the mesh closes a connection that wants to speak proto.
func (r *running) refused(creds *pki.Credentials, proto string) bool {
	r.t.Helper()
	conn, err := tls.Dial("tcp", r.mesh, creds.NodeClientTLS(proto))
	if err != nil {
		return true
	}
	defer conn.Close()
	require.NoError(r.t, conn.SetReadDeadline(time.Now().Add(2*enrolmentPatience)))
	_, err = conn.Read(make([]byte, 1))
	timeout, ok := err.(interface{ Timeout() bool })
	return err != nil && (!ok || !timeout.Timeout())
}

// The CA's key alone makes nobody a node: what speaks for a known node must have
// its key, and what nobody has enrolled is no node.
func TestForgedNodeIsRefused(t *testing.T) {
	r := start(t)
	for _, id := range []string{"n1", "n9"} {
		creds := r.forged(pki.RoleNode, id)
		require.True(t, r.refused(creds, pki.ALPNRaft), "%s speaks Raft", id)
		require.True(t, r.refused(creds, pki.ALPNGossip), "%s gossips", id)
		err := r.meshClient(creds.NodeClientTLS(pki.ALPNHTTP)).Do(t.Context(), http.MethodGet, "/v1/mesh/health", nil, nil)
		require.Error(t, err, "%s asks", id)
	}
	agent := r.forged(pki.RoleAgent, "a9")
	require.True(t, r.refused(agent, pki.ALPNRaft))
	require.Error(t, r.meshClient(agent.NodeClientTLS(pki.ALPNHTTP)).Do(t.Context(), http.MethodPost, "/v1/agents/a9/poll", api.PollRequest{}, nil))
}

// A node that somebody runs away with is shut out while it runs: its connections
// are cut, and none is made again.
func TestStolenNodeIsShutOut(t *testing.T) {
	if testing.Short() {
		t.Skip("three nodes have to elect")
	}
	r := start(t)
	r.join("n2", func(*Config) {})
	thief := r.join("n3", func(*Config) {})
	remove := func(query string) error {
		return r.operator.Do(t.Context(), http.MethodDelete, "/v1/nodes/n3"+query, nil, nil)
	}
	require.Equal(t, api.CodeConflict, api.CodeOf(remove("")), "a node that lives is not removed by mistake")
	require.NoError(t, remove("?stolen=true"))
	require.True(t, eventually(func() bool { return thief.check("raft").Status == api.StatusCritical }), "it hears the leader")
	require.True(t, eventually(func() bool { return len(r.node.cluster.Status().Voters) == 2 }))
	require.True(t, r.refused(thief.node.creds, pki.ALPNRaft))
	require.NoError(t, r.operator.Do(t.Context(), http.MethodPatch, "/v1/settings",
		api.SettingsChange{Values: map[api.SettingKey]string{api.SettingPollIdle: "30s"}}, nil), "the others go on")
	require.Zero(t, thief.node.state().Settings().Version, "and it learns nothing more")
}

// The answer to a node that joins has the sealing key in it: the request alone,
// played again, does not bring it.
func TestRecordedJoinIsNoUse(t *testing.T) {
	r := start(t)
	token := r.token(api.CreateTokenRequest{Kind: api.TokenNode, Seats: 1, TTL: api.Duration(time.Hour)})
	key, err := pki.LoadOrCreateKey(filepath.Join(t.TempDir(), pki.KeyFile))
	require.NoError(t, err)
	csr, err := pki.NewCSR(key)
	require.NoError(t, err)
	req := api.EnrolNodeRequest{TokenID: token.Token.ID, Secret: token.Secret, NodeID: "n2", Region: "eu", MeshAddr: "127.0.0.1:1", CSR: csr}
	var resp api.EnrolNodeResponse
	join := func() error { return r.stranger().Do(t.Context(), http.MethodPost, "/v1/enrol/node", req, &resp) }
	require.NoError(t, join())
	require.NoError(t, join(), "a repeat takes no second seat")
	require.NotEmpty(t, resp.SealingKey)
	require.NoError(t, r.operator.Do(t.Context(), http.MethodDelete, "/v1/tokens/"+token.Token.ID, nil, nil))
	require.Equal(t, api.CodeDenied, api.CodeOf(join()))
}
