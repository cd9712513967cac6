package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/p2p"
	"redflag/ratelimit"
	"redflag/trust"
	"redflag/trust/pki"
	"redflag/trust/trusttest"
)

// cluster is what nodes would agree on, kept in memory: authority, TUF
// repository, commands and reports. Its nodes are real TLS servers with real
// certificates and a real swarm.
type cluster struct {
	t         *testing.T
	authority *pki.Authority
	repo      *trusttest.Repository
	nodes     []*fakeNode

	mu        sync.Mutex
	poll      api.Duration
	queue     []api.Command
	reports   []api.Report
	polls     []api.PollRequest
	peers     map[string]api.SwarmPeer
	settings  *api.AgentSettings
	refuse    bool // reports are rejected, not accepted
	falter    bool // a node breaks once it has handed out a command
	loseReply int  // this many replies with commands get lost
	enrolled  int
	renewed   int
	forge     func(*api.Command) // what a rogue node makes of a signed command
	ahead     time.Duration      // of the clock that certificates are made by at first
}

type fakeNode struct {
	c      *cluster
	addr   api.NodeAddr
	server *http.Server
	swarm  *p2p.Swarm
	creds  *pki.Credentials
	broken bool // answers every poll with an error

	polled int
}

const secret = "fakesecret"

func newCluster(t *testing.T) *cluster {
	t.Helper()
	authority, err := pki.NewAuthority("test-cluster", time.Now())
	require.NoError(t, err)
	return &cluster{
		t: t, authority: authority, repo: trusttest.NewRepository(t),
		poll: api.Duration(250 * time.Millisecond), peers: map[string]api.SwarmPeer{},
	}
}

func (c *cluster) token() string {
	return pki.RegistrationToken{
		ID: "t-1", Secret: secret, CA: c.authority.PublicKey(), RootHash: trust.RootHash(c.repo.Root()),
	}.Encode()
}

func (c *cluster) member(role pki.Role, id, region string) *pki.Credentials {
	c.t.Helper()
	dir := c.t.TempDir()
	key, err := pki.LoadOrCreateKey(filepath.Join(dir, pki.KeyFile))
	require.NoError(c.t, err)
	csr, err := pki.NewCSR(key)
	require.NoError(c.t, err)
	cert, err := c.authority.Sign(csr, pki.Identity{ClusterID: "test-cluster", Role: role, ID: id, Region: region}, time.Hour, time.Now())
	require.NoError(c.t, err)
	require.NoError(c.t, pki.SaveCredentials(dir, cert, c.authority.CertificatePEM()))
	creds, err := pki.LoadCredentials(dir)
	require.NoError(c.t, err)
	return creds
}

func (c *cluster) node(id, region string) *fakeNode {
	c.t.Helper()
	creds := c.member(pki.RoleNode, id, region)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	n := &fakeNode{c: c, addr: api.NodeAddr{ID: id, Region: region, Addr: ln.Addr().String()}, creds: creds}
	n.server = &http.Server{Handler: n.routes(), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = n.server.Serve(tls.NewListener(ln, creds.ServerTLS(pki.ALPNHTTP))) }()
	c.t.Cleanup(n.stop)

	peers, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(c.t, err)
	self := p2p.Peer{ID: id, Region: region, Node: true}
	n.swarm, err = p2p.New(p2p.Config{
		Dir: c.t.TempDir(), Self: self,
		Listener: swarmListener{peers, creds.PeerServerTLS(pki.ALPNSwarm)},
		Dial:     dialSwarm(creds), Identify: identify,
		Upload: ratelimit.NewBucket(api.Unlimited), Download: ratelimit.NewBucket(api.Unlimited),
		Logger: hclog.NewNullLogger(),
	})
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = n.swarm.Close() })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.peers[id] = api.SwarmPeer{ID: id, Node: true, Addr: peers.Addr().String()}
	c.nodes = append(c.nodes, n)
	return n
}

func (n *fakeNode) stop() { _ = n.server.Close() }

// publish signs a payload and seeds it at every node.
func (c *cluster) publish(name, version string, payload []byte) trust.Target {
	c.t.Helper()
	torrent, err := p2p.MakeTorrent(bytes.NewReader(payload), int64(len(payload)))
	require.NoError(c.t, err)
	c.seed(torrent, payload)
	return c.repo.Publish(name, version, name+".bin", payload, torrent.InfoHash, torrent.PieceLength)
}

func (c *cluster) seed(torrent p2p.Torrent, payload []byte) {
	c.t.Helper()
	for _, n := range c.nodes {
		path := filepath.Join(c.t.TempDir(), "payload")
		require.NoError(c.t, os.WriteFile(path, payload, 0o600))
		require.NoError(c.t, n.swarm.Import(torrent, path))
	}
}

// order enqueues a command for agent a1 and returns its id.
func (c *cluster) order(kind api.Kind, name, version string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	id := "r" + strconv.Itoa(len(c.queue)+1) + ":a1"
	c.queue = append(c.queue, api.Command{
		ID: id, AgentID: "a1", Kind: kind, Artifact: name, Version: version, CorrelationID: api.NewCorrelationID(),
	})
	return id
}

// set changes the cluster while agents run.
func (c *cluster) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *cluster) reported(command string) (all []api.Report) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.reports {
		if r.CommandID == command {
			all = append(all, r)
		}
	}
	return all
}

// await waits for the terminal report of a command.
func (c *cluster) await(command string) (final api.Report) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		for _, r := range c.reported(command) {
			if r.State.Terminal() {
				final = r
				return true
			}
		}
		return false
	}, 20*time.Second, 5*time.Millisecond, "command %s does not end", command)
	return final
}

func (n *fakeNode) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			out, err := h(r)
			if err != nil {
				w.WriteHeader(api.CodeOf(err).HTTPStatus())
				out = err
			}
			if raw, ok := out.([]byte); ok {
				_, _ = w.Write(raw)
				return
			}
			_ = json.NewEncoder(w).Encode(out)
		})
	}
	handle("GET /v1/health", func(*http.Request) (any, error) { return api.PublicHealth{Status: api.StatusOK}, nil })
	handle("POST /v1/enrol/agent", n.enrol)
	handle("POST /v1/enrol/renew", n.renew)
	handle("POST /v1/agents/{id}/poll", n.poll)
	handle("POST /v1/swarm/{hash}/announce", n.announce)
	handle("GET /v1/tuf/{name}", func(r *http.Request) (any, error) {
		if b := n.c.repo.File(r.PathValue("name")); b != nil {
			return b, nil
		}
		return nil, api.Errorf(api.CodeNotFound, "no such file")
	})
	return mux
}

func (n *fakeNode) enrol(r *http.Request) (any, error) {
	var req api.EnrolAgentRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, err
	}
	if req.Secret != secret {
		return nil, api.Errorf(api.CodeUnauthenticated, "the token is not valid")
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.enrolled++
	id := pki.Identity{ClusterID: "test-cluster", Role: pki.RoleAgent, ID: req.AgentID, Region: req.Region}
	cert, err := n.c.authority.Sign(req.CSR, id, time.Hour, time.Now().Add(n.c.ahead))
	return api.EnrolAgentResponse{
		ClusterID: "test-cluster", Certificate: cert, Authorities: n.c.authority.CertificatePEM(),
		Root: n.c.repo.Root(), Nodes: n.c.addrs(),
	}, err
}

func (n *fakeNode) renew(r *http.Request) (any, error) {
	var req api.RenewRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.renewed++
	id := pki.Identity{ClusterID: "test-cluster", Role: pki.RoleAgent, ID: req.AgentID, Region: "eu"}
	cert, err := n.c.authority.Sign(req.CSR, id, time.Hour, time.Now())
	return api.RenewResponse{Certificate: cert, Authorities: n.c.authority.CertificatePEM()}, err
}

func (c *cluster) addrs() (all []api.NodeAddr) {
	for _, n := range c.nodes {
		all = append(all, n.addr)
	}
	return all
}

func (n *fakeNode) poll(r *http.Request) (any, error) {
	id, err := pki.IdentityOf(*r.TLS)
	if err != nil || id.ID != r.PathValue("id") {
		return nil, api.Errorf(api.CodeDenied, "not you")
	}
	var req api.PollRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, err
	}
	c := n.c
	c.mu.Lock()
	defer c.mu.Unlock()
	n.polled++
	if n.broken {
		return nil, api.Errorf(api.CodeBehind, "behind")
	}
	c.polls = append(c.polls, req)
	resp := api.PollResponse{NextPoll: c.poll, Nodes: c.addrs(), Index: uint64(len(c.polls))}
	for _, report := range req.Reports {
		if c.refuse {
			resp.Rejected = append(resp.Rejected, api.RejectedReport{ID: report.ID, Error: api.Errorf(api.CodeConflict, "cancelled")})
			continue
		}
		resp.Accepted = append(resp.Accepted, report.ID)
		c.reports = append(c.reports, report)
	}
	if c.settings != nil && req.SettingsVersion != c.settings.Version {
		resp.Settings = c.settings
	}
	for _, cmd := range c.open(req.Held) {
		if cmd.AgentID == "" {
			cmd.AgentID = id.ID
		}
		if cmd.Order, err = n.creds.SignOrder(cmd, time.Now()); err != nil {
			return nil, err
		}
		if c.forge != nil {
			c.forge(&cmd)
		}
		resp.Commands = append(resp.Commands, cmd)
	}
	n.broken = c.falter && len(resp.Commands) > 0
	if len(resp.Commands) > 0 && c.loseReply > 0 {
		c.loseReply--
		panic(http.ErrAbortHandler)
	}
	return resp, nil
}

// open returns the commands that have not ended and are not held.
func (c *cluster) open(held []string) (cmds []api.Command) {
	for _, cmd := range c.queue {
		over := slices.ContainsFunc(c.reports, func(r api.Report) bool { return r.CommandID == cmd.ID && r.State.Terminal() })
		if !over && !slices.Contains(held, cmd.ID) {
			cmds = append(cmds, cmd)
		}
	}
	return cmds
}

func (n *fakeNode) announce(r *http.Request) (any, error) {
	id, err := pki.IdentityOf(*r.TLS)
	if err != nil {
		return nil, err
	}
	var req api.AnnounceRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, err
	}
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	resp := api.AnnounceResponse{Size: 1, Interval: api.Duration(time.Second)}
	for _, p := range n.c.peers {
		if p.ID != id.ID {
			resp.Peers = append(resp.Peers, p)
		}
	}
	n.c.peers[id.ID] = api.SwarmPeer{ID: id.ID, Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(req.Port))}
	return resp, nil
}

// config returns what an agent a1 in eu needs to join.
func (c *cluster) config() Config {
	cfg := Config{
		ID: "a1", Region: "eu", Token: c.token(), DataDir: c.t.TempDir(),
		SwarmAddr: "127.0.0.1:0", Version: "test",
	}
	for _, n := range c.nodes {
		cfg.Nodes = append(cfg.Nodes, n.addr.Addr)
	}
	return cfg
}

// start runs an agent until the returned function or the end of the test
// stops it.
func start(t *testing.T, cfg Config) (stop func()) {
	t.Helper()
	a, err := New(cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(t, <-done)
		})
	}
	t.Cleanup(stop)
	return stop
}

// current reads what a service of the agent's machine would run.
func current(t *testing.T, cfg Config, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(cfg.DataDir, "artifacts", name, "current", name+".bin"))
	require.NoError(t, err)
	return string(b)
}
