package attack

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/node"
	"redflag/trust/pki"
)

// realNode is a node of this project, the founder of a cluster.
type realNode struct {
	t        *testing.T
	mesh     string
	operator *api.Client
}

func startNode(t *testing.T) *realNode {
	t.Helper()
	cfg := node.Defaults()
	cfg.ID, cfg.Region, cfg.DataDir = "n1", "eu", t.TempDir()
	cfg.MeshListen, cfg.APIListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.RaftTimeout, cfg.Logger = time.Second, hclog.NewNullLogger()
	n, err := node.New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
	var at node.Runtime
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(filepath.Join(cfg.DataDir, "runtime.json"))
		return err == nil && json.Unmarshal(b, &at) == nil
	}, time.Minute, 10*time.Millisecond)
	b, err := os.ReadFile(filepath.Join(cfg.DataDir, "operator.json"))
	require.NoError(t, err)
	var cred node.Credential
	require.NoError(t, json.Unmarshal(b, &cred))
	return &realNode{t: t, mesh: at.Mesh, operator: &api.Client{Servers: cred.Servers, Bearer: cred.Token, HTTP: http.DefaultClient}}
}

func (n *realNode) token(seats int) api.CreateTokenResponse {
	n.t.Helper()
	var resp api.CreateTokenResponse
	require.NoError(n.t, n.operator.Do(n.t.Context(), http.MethodPost, "/v1/tokens",
		api.CreateTokenRequest{Kind: api.TokenAgent, Seats: seats, TTL: api.Duration(time.Hour)}, &resp))
	return resp
}

// client speaks to the mesh port.
func (n *realNode) client(conf *tls.Config) *api.Client {
	tr := &http.Transport{TLSClientConfig: conf}
	n.t.Cleanup(tr.CloseIdleConnections)
	return &api.Client{Servers: []string{"https://" + n.mesh}, HTTP: &http.Client{Transport: tr}}
}

// tell enrols an agent and has it report an incident with its poll.
func (n *realNode) tell(token api.CreateTokenResponse, id string, incident api.Incident) {
	n.t.Helper()
	roots, err := pki.TrustAnchor(token.Authority)
	require.NoError(n.t, err)
	dir := n.t.TempDir()
	key, err := pki.LoadOrCreateKey(filepath.Join(dir, pki.KeyFile))
	require.NoError(n.t, err)
	csr, err := pki.NewCSR(key)
	require.NoError(n.t, err)
	var enrolled api.EnrolAgentResponse
	stranger := n.client(&tls.Config{RootCAs: roots, ServerName: pki.NodeServerName, MinVersion: tls.VersionTLS13})
	require.NoError(n.t, stranger.Do(n.t.Context(), http.MethodPost, "/v1/enrol/agent", api.EnrolAgentRequest{
		TokenID: token.Token.ID, Secret: token.Secret, AgentID: id, Region: "eu", CSR: csr,
	}, &enrolled))
	require.NoError(n.t, pki.SaveCredentials(dir, enrolled.Certificate, enrolled.Authorities))
	creds, err := pki.LoadCredentials(dir)
	require.NoError(n.t, err)
	require.NoError(n.t, n.client(creds.NodeClientTLS(pki.ALPNHTTP)).Do(n.t.Context(), http.MethodPost, "/v1/agents/"+id+"/poll",
		api.PollRequest{Incidents: []api.Incident{incident}}, &api.PollResponse{}))
}

// audited has a real node take the incident of each cell, and returns those that
// its audit log has, by row and column.
func audited(t *testing.T, table map[string]map[string]api.Incident) map[string]bool {
	t.Helper()
	n := startNode(t)
	cells := map[string]string{} // by agent
	incidents := map[string]api.Incident{}
	for row, columns := range table {
		for column, incident := range columns {
			id := fmt.Sprintf("agent-%d", len(cells))
			cells[id], incidents[id] = row+column, incident
		}
	}
	token := n.token(max(1, len(cells)))
	for id, incident := range incidents {
		n.tell(token, id, incident)
	}
	found := map[string]bool{}
	require.Eventually(t, func() bool {
		var log struct {
			Items []api.AuditRecord `json:"items"`
		}
		require.NoError(t, n.operator.Do(t.Context(), http.MethodGet, "/v1/audit?limit=1000", nil, &log))
		require.Nil(t, api.VerifyAudit(log.Items))
		for _, r := range log.Items {
			id := strings.TrimPrefix(r.Who, "agent ")
			incident, ok := incidents[id]
			said := incident.Detail[:min(len(incident.Detail), 300)]
			if ok && r.Action == "refused: "+incident.Class && r.Target == incident.Command && strings.Contains(r.Detail, said) {
				found[cells[id]] = true
			}
		}
		return len(found) == len(cells)
	}, time.Minute, 100*time.Millisecond, "%d of %d incidents are in the audit log", len(found), len(cells))
	return found
}
