package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/trust/pki"
)

// running is a real node of a cluster of one, with its operator.
type running struct {
	t        *testing.T
	node     *Node
	operator *api.Client
	mesh     string
	api      string
	stop     func()
}

func start(t *testing.T) *running {
	t.Helper()
	return startWith(t, func(*Config) {})
}

// testConfig is a node on loopback with a folder of its own.
func testConfig(t *testing.T) Config {
	t.Helper()
	cfg := Defaults()
	cfg.ID, cfg.Region, cfg.DataDir = "n1", "eu", t.TempDir()
	cfg.MeshListen, cfg.APIListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.RaftTimeout, cfg.Logger = 200*time.Millisecond, hclog.NewNullLogger()
	return cfg
}

// startWith founds a cluster with a configuration that change has changed.
func startWith(t *testing.T, change func(*Config)) *running {
	t.Helper()
	cfg := testConfig(t)
	change(&cfg)
	r := run(t, cfg)
	var cred Credential
	require.NoError(t, readJSON(filepath.Join(cfg.DataDir, "operator.json"), &cred))
	r.operator = &api.Client{Servers: cred.Servers, Bearer: cred.Token, HTTP: http.DefaultClient}
	return r
}

// run starts a node and stops it when the test ends.
func run(t *testing.T, cfg Config) *running {
	t.Helper()
	n, err := New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	r := &running{t: t, node: n}
	r.stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-done)
	})
	t.Cleanup(r.stop)
	_ = os.Remove(filepath.Join(cfg.DataDir, "runtime.json")) // of an earlier life
	var at Runtime
	require.Eventually(t, func() bool { return readJSON(filepath.Join(cfg.DataDir, "runtime.json"), &at) == nil },
		20*time.Second, 10*time.Millisecond)
	r.mesh, r.api = at.Mesh, at.API
	return r
}

func registrationToken(resp api.CreateTokenResponse) string {
	return pki.RegistrationToken{ID: resp.Token.ID, Secret: resp.Secret, CA: resp.Authority}.Encode()
}

// join starts a further node of the cluster and waits until it votes.
func (r *running) join(id string, change func(*Config)) *running {
	r.t.Helper()
	resp := r.token(api.CreateTokenRequest{Kind: api.TokenNode, Seats: 1, TTL: api.Duration(time.Hour)})
	cfg := testConfig(r.t)
	cfg.ID, cfg.Join = id, []string{r.mesh}
	cfg.JoinToken = registrationToken(resp)
	change(&cfg)
	j := run(r.t, cfg)
	j.operator = &api.Client{Servers: []string{j.api}, Bearer: r.operator.Bearer, HTTP: http.DefaultClient}
	require.Eventually(r.t, func() bool {
		return slices.ContainsFunc(r.node.nodes(), func(m api.Node) bool { return m.ID == id && m.Voter && m.Alive })
	}, 30*time.Second, 20*time.Millisecond, "%s does not vote", id)
	return j
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// stranger returns a client without a certificate that knows the cluster's CA.
func (r *running) stranger() *api.Client {
	r.t.Helper()
	cluster, _ := r.node.state().Cluster()
	key, err := authorityKey(cluster.Authorities)
	require.NoError(r.t, err)
	roots, err := pki.TrustAnchor(key)
	require.NoError(r.t, err)
	return r.meshClient(&tls.Config{RootCAs: roots, ServerName: pki.NodeServerName, MinVersion: tls.VersionTLS13})
}

func (r *running) meshClient(conf *tls.Config) *api.Client {
	tr := &http.Transport{TLSClientConfig: conf}
	r.t.Cleanup(tr.CloseIdleConnections)
	return &api.Client{Servers: []string{"https://" + r.mesh}, HTTP: &http.Client{Transport: tr}}
}

func (r *running) token(req api.CreateTokenRequest) api.CreateTokenResponse {
	r.t.Helper()
	var resp api.CreateTokenResponse
	require.NoError(r.t, r.operator.Do(r.t.Context(), http.MethodPost, "/v1/tokens", req, &resp))
	return resp
}

// enrol makes a machine an agent, the way agents do it.
func (r *running) enrol(id string, token api.CreateTokenResponse) (*pki.Credentials, error) {
	r.t.Helper()
	dir := r.t.TempDir()
	key, err := pki.LoadOrCreateKey(filepath.Join(dir, pki.KeyFile))
	require.NoError(r.t, err)
	csr, err := pki.NewCSR(key)
	require.NoError(r.t, err)
	var resp api.EnrolAgentResponse
	err = r.stranger().Do(r.t.Context(), http.MethodPost, "/v1/enrol/agent", api.EnrolAgentRequest{
		TokenID: token.Token.ID, Secret: token.Secret, AgentID: id, Region: "eu", CSR: csr,
	}, &resp)
	if err != nil {
		return nil, err
	}
	require.NoError(r.t, pki.SaveCredentials(dir, resp.Certificate, resp.Authorities))
	return pki.LoadCredentials(dir)
}

var agentToken = api.CreateTokenRequest{Kind: api.TokenAgent, Seats: 1, TTL: api.Duration(time.Hour)}

func TestEnrolmentAndPoll(t *testing.T) {
	r := start(t)
	ctx := t.Context()
	token := r.token(agentToken)

	wrong := token
	wrong.Secret = "guess"
	_, err := r.enrol("a1", wrong)
	require.Contains(t, []api.Code{api.CodeDenied, api.CodeUnauthenticated}, api.CodeOf(err), "%v", err)
	require.NotContains(t, err.Error(), token.Secret)
	creds, err := r.enrol("a1", token)
	require.NoError(t, err)
	_, err = r.enrol("a2", token)
	require.Error(t, err, "the token has one seat")
	_, err = r.enrol("a1", token)
	require.Error(t, err, "the name belongs to another key")

	agent := r.meshClient(creds.NodeClientTLS(pki.ALPNHTTP))
	var resp api.PollResponse
	require.NoError(t, agent.Do(ctx, http.MethodPost, "/v1/agents/a1/poll", api.PollRequest{}, &resp))
	require.Len(t, resp.Nodes, 1)
	require.Positive(t, resp.NextPoll)
	require.NotNil(t, resp.Settings)

	var listed page[api.Agent]
	require.NoError(t, r.operator.Do(ctx, http.MethodGet, "/v1/agents", nil, &listed))
	require.Len(t, listed.Items, 1)
	require.Equal(t, "n1", listed.Items[0].Presence.Node)

	for path, want := range map[string]api.Code{
		"/v1/agents/a2/poll":    api.CodeDenied, // somebody else's commands
		"/v1/mesh/propose":      api.CodeDenied, // a node's business
		"/v1/mesh/presence":     api.CodeDenied,
		"/v1/rollouts":          api.CodeNotFound, // an operator's business
		"/v1/swarm/zz/announce": api.CodeInvalid,
		"/v1/swarm/" + strings.Repeat("a", 40) + "/announce": api.CodeNotFound,
	} {
		require.Equal(t, want, api.CodeOf(agent.Do(ctx, http.MethodPost, path, api.PollRequest{}, nil)), path)
	}
	err = agent.Do(ctx, http.MethodPost, "/v1/agents/a1/poll", api.PollRequest{LastIndex: 1 << 40}, nil)
	require.Equal(t, api.CodeBehind, api.CodeOf(err), "a node never answers from an older state than the agent has seen")
}

func TestMeshRefusesStrangersAndRoles(t *testing.T) {
	r := start(t)
	ctx := t.Context()
	stranger := r.stranger()
	require.NoError(t, stranger.Do(ctx, http.MethodGet, "/v1/health", nil, nil))
	for _, path := range []string{"/v1/agents/a1/poll", "/v1/mesh/propose", "/v1/mesh/presence"} {
		require.Equal(t, api.CodeUnauthenticated, api.CodeOf(stranger.Do(ctx, http.MethodPost, path, nil, nil)), path)
	}
	require.Equal(t, api.CodeUnauthenticated, api.CodeOf(stranger.Do(ctx, http.MethodGet, "/v1/tuf/1.root.json", nil, nil)))

	creds, err := r.enrol("a1", r.token(agentToken))
	require.NoError(t, err)
	stays := func(c *pki.Credentials, proto string) bool {
		conn, err := tls.Dial("tcp", r.mesh, c.NodeClientTLS(proto))
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
		_, err = conn.Read(make([]byte, 1))
		return os.IsTimeout(err)
	}
	for _, proto := range []string{pki.ALPNRaft, pki.ALPNGossip} {
		require.False(t, stays(creds, proto), "an agent may not speak %s", proto)
		require.True(t, stays(r.node.creds, proto), "a node may speak %s", proto)
	}
}

// An address outlives the node that had it: whoever answers there now must not
// be taken for the other.
func TestRaftDialsAnIdentity(t *testing.T) {
	r := start(t)
	conn, err := r.node.mesh.dialRaft(t.Context(), "n1", r.mesh)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	_, err = r.node.mesh.dialRaft(t.Context(), "n2", r.mesh)
	require.ErrorContains(t, err, "is node n1 and not n2")
}

func TestBadRequestsChangeNothing(t *testing.T) {
	r := start(t)
	before := r.node.state().Applied()
	send := func(method, path, body string, length int64) (int, api.Error) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, r.operator.Servers[0]+path, io.NopCloser(strings.NewReader(body)))
		require.NoError(t, err)
		req.ContentLength = length
		req.Header.Set("Authorization", "Bearer "+r.operator.Bearer)
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil { // the server hung up on a body that is too long
			return http.StatusRequestEntityTooLarge, api.Error{Code: api.CodeTooLarge, Message: err.Error()}
		}
		defer resp.Body.Close()
		var e api.Error
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&e))
		return resp.StatusCode, e
	}
	hash := hex.EncodeToString(make([]byte, sha256.Size))
	for _, tc := range []struct {
		method, path, body string
		length             int64
		want               api.Code
	}{
		{"POST", "/v1/rollouts", `{"id":`, 0, api.CodeInvalid},
		{"POST", "/v1/rollouts", `{"id":"r","kind":"install","bogus":1}`, 0, api.CodeInvalid},
		{"POST", "/v1/rollouts", `{} {}`, 0, api.CodeInvalid},
		{"POST", "/v1/rollouts", `{"id":"r","kind":"dance","artifact":"a","selector":{"all":true}}`, 0, api.CodeInvalid},
		{"POST", "/v1/rollouts", `"` + strings.Repeat("x", api.MaxBody+1) + `"`, 0, api.CodeTooLarge},
		{"PATCH", "/v1/settings", `{"values":{}}`, 0, api.CodeInvalid},
		{"POST", "/v1/tokens", `{"kind":"agent","seats":0,"ttl":"1h"}`, 0, api.CodeInvalid},
		{"PUT", "/v1/uploads/" + hash, "", 10 << 40, api.CodeTooLarge},
		{"PUT", "/v1/uploads/nonsense", "x", 1, api.CodeInvalid},
		{"PUT", "/v1/uploads/" + hash, "not these bytes", 15, api.CodeInvalid},
		{"POST", "/v1/artifacts", `{"name":"app","version":"1","targets":"e30="}`, 0, api.CodeConflict},
		{"GET", "/v1/agents?limit=1000000", "", 0, api.CodeInvalid},
		{"GET", "/v1/nonsense", "", 0, api.CodeNotFound},
	} {
		length := tc.length
		if length == 0 {
			length = int64(len(tc.body))
		}
		status, e := send(tc.method, tc.path, tc.body, length)
		require.Equal(t, tc.want, e.Code, "%s %s: %s", tc.method, tc.path, e.Message)
		require.Equal(t, tc.want.HTTPStatus(), status)
	}
	r.operator.Bearer = "wrong"
	require.Equal(t, api.CodeUnauthenticated, api.CodeOf(r.operator.Do(t.Context(), http.MethodGet, "/v1/agents", nil, nil)))
	require.Empty(t, r.node.state().Rollouts())
	require.Empty(t, r.node.state().Artifacts())
	require.Zero(t, r.node.state().Settings().Version)
	require.Empty(t, r.node.state().Tokens())
	audited := uint64(len(r.node.state().AuditLog(0, state.MaxPage)))
	require.LessOrEqual(t, r.node.state().Applied()-before, 10+audited, "only the leader's ticks, and who asked")
	left, err := os.ReadDir(r.node.uploadsDir())
	require.NoError(t, err)
	require.Empty(t, left, "a refused upload leaves nothing behind")
}

func TestHealthTellsOperatorsMore(t *testing.T) {
	r := start(t)
	var all []api.Health
	require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, "/v1/cluster/health", nil, &all))
	require.Len(t, all, 1)
	require.Equal(t, "Leader", all[0].RaftState)
	require.Equal(t, 1, all[0].Voters)
	require.Positive(t, all[0].DiskTotal)

	resp, err := http.Get(r.operator.Servers[0] + "/v1/health")
	require.NoError(t, err)
	defer resp.Body.Close()
	var public map[string]any
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&public))
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.ElementsMatch(t, []string{"status", "version"}, keysOf(public), "a stranger learns no more")
}

func keysOf(m map[string]any) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestSecretsAreNotOnDiskInTheClear(t *testing.T) {
	r := start(t)
	token := r.token(agentToken)
	var found []string
	require.NoError(t, filepath.WalkDir(r.node.path("cluster"), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for name, secret := range map[string]string{"API token": r.operator.Bearer, "registration secret": token.Secret, "CA key": string(caKey(t, r.node))} {
			if bytes.Contains(b, []byte(secret)) {
				found = append(found, fmt.Sprintf("%s in %s", name, filepath.Base(path)))
			}
		}
		return err
	}))
	require.Empty(t, found)
}

func caKey(t *testing.T, n *Node) []byte {
	t.Helper()
	cluster, ok := n.state().Cluster()
	require.True(t, ok)
	key, err := n.sealer.Open(cluster.SealedCAKey, sealCA)
	require.NoError(t, err)
	return key[len(key)-32:] // the seed at the end of the PKCS #8 structure
}

func TestAnUnfinishedFoundingStartsOver(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "identity"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "founding"), nil, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "identity", "cert.pem"), []byte("half"), 0o600))
	cfg := Defaults()
	cfg.DataDir, cfg.Logger = dir, hclog.NewNullLogger()
	n, err := New(cfg)
	require.NoError(t, err)
	require.NoError(t, n.discardHalfBirth())
	_, err = pki.LoadCredentials(n.path("identity"))
	require.ErrorIs(t, err, pki.ErrNotEnrolled)
	require.NoFileExists(t, n.birthMark(), "or the next start would discard what this node became meanwhile")
}

func TestConfigSaysWhatToDo(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"--mesh-advertise": func(c *Config) { c.MeshListen = "0.0.0.0:7420" },
		"--api-key":        func(c *Config) { c.APICert = "cert.pem" },
		"host:port":        func(c *Config) { c.Join = []string{"eu1"} },
		"100ms":            func(c *Config) { c.RaftTimeout = time.Millisecond },
		"letters":          func(c *Config) { c.ID = "a/b" },
	} {
		cfg := Defaults()
		change(&cfg)
		require.ErrorContains(t, cfg.Validate(), want)
	}
}

// A node whose identity is lost does not found a cluster over the state that it
// has, and a further start does not take that for a founding that never ended.
func TestLostIdentityIsNoFounding(t *testing.T) {
	r := start(t)
	dir := r.node.cfg.DataDir
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, "identity", "issuer.sealed")); return err == nil },
		10*time.Second, 10*time.Millisecond, "a young node can renew its certificate too")
	r.stop()
	key := filepath.Join(dir, "identity", pki.KeyFile)
	saved, err := os.ReadFile(key)
	require.NoError(t, err)
	require.NoError(t, os.Remove(key))
	for range 2 {
		n, err := New(r.node.cfg)
		require.NoError(t, err)
		require.ErrorContains(t, n.Run(t.Context()), "holds the state of a cluster")
	}
	require.NoError(t, os.WriteFile(key, saved, 0o600))
	run(t, r.node.cfg)
}

// An agent has one region: a certificate for another could not be renewed.
func TestEnrolmentKeepsTheRegion(t *testing.T) {
	r := start(t)
	token := r.token(api.CreateTokenRequest{Kind: api.TokenAgent, Seats: 3, TTL: api.Duration(time.Hour)})
	_, err := r.enrol("a1", token)
	require.NoError(t, err)
	require.NoError(t, r.operator.Do(t.Context(), http.MethodPost, "/v1/agents/a1/revoke", nil, nil))
	key, err := pki.LoadOrCreateKey(filepath.Join(t.TempDir(), pki.KeyFile))
	require.NoError(t, err)
	csr, err := pki.NewCSR(key)
	require.NoError(t, err)
	req := api.EnrolAgentRequest{TokenID: token.Token.ID, Secret: token.Secret, AgentID: "a1", Region: "us", CSR: csr}
	err = r.stranger().Do(t.Context(), http.MethodPost, "/v1/enrol/agent", req, nil)
	require.Equal(t, api.CodeConflict, api.CodeOf(err), "%v", err)
	req.Region = "eu"
	require.NoError(t, r.stranger().Do(t.Context(), http.MethodPost, "/v1/enrol/agent", req, nil))
}
