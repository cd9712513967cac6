package attack

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/agent"
	"redflag/api"
	"redflag/p2p"
	"redflag/ratelimit"
	"redflag/trust"
	"redflag/trust/pki"
	"redflag/trust/trusttest"
)

// world is a cluster that has lost its honesty: its authority and its offline
// keys are genuine, its node says what the attack wants. The agent is real.
type world struct {
	t         *testing.T
	authority *pki.Authority
	repo      *trusttest.Repository
	dataDir   string // of the agent

	mu        sync.Mutex
	queue     []api.Command
	forge     func(*api.Command)
	fetch     func(name string) ([]byte, bool) // nil, or a file in place of the repository's
	stream    func(http.ResponseWriter)        // nil, or what answers every request for metadata
	reports   []api.Report
	incidents []api.Incident
	peers     []api.SwarmPeer
	node      *pki.Credentials
	addr      api.NodeAddr
	polls     int
	quiet     bool                  // the last poll had no report
	fromPeer  bool                  // payloads come from another agent
	patience  time.Duration         // of the agent; 0 for its own
	seen      map[string]*api.Order // as they were handed out, by command
}

const secret = "attacksecret"

// honest enrols an agent and lets it install 1.0.0 in an honest world. What it
// returns is copied for every attack.
func honest(t *testing.T) *world {
	t.Helper()
	authority, err := pki.NewAuthority("attack", time.Now())
	require.NoError(t, err)
	w := &world{t: t, authority: authority, repo: trusttest.NewRepository(t), dataDir: t.TempDir(), seen: map[string]*api.Order{}}
	w.serve("eu")
	w.publish("1.0.0", []byte("genuine 1.0.0"))
	stop := w.start()
	w.order("c1", "1.0.0")
	w.until("1.0.0 is installed", func() bool { return w.reported("c1") == api.StateSucceeded })
	stop()
	require.Equal(t, "genuine 1.0.0", w.running())
	return w
}

// copy makes the world of one attack, whose node stands in region.
func (w *world) copy(t *testing.T, region string) *world {
	t.Helper()
	c := &world{t: t, authority: w.authority, repo: w.repo.Clone(t), dataDir: filepath.Join(t.TempDir(), "agent"), seen: map[string]*api.Order{}}
	require.NoError(t, os.CopyFS(c.dataDir, os.DirFS(w.dataDir)))
	require.NoError(t, os.RemoveAll(filepath.Join(c.dataDir, "learnt.json")))
	require.NoError(t, os.Chmod(filepath.Join(c.dataDir, "identity", pki.KeyFile), 0o600))
	c.serve(region)
	return c
}

func (w *world) member(role pki.Role, id, region string) *pki.Credentials {
	w.t.Helper()
	dir := w.t.TempDir()
	key, err := pki.LoadOrCreateKey(filepath.Join(dir, pki.KeyFile))
	require.NoError(w.t, err)
	csr, err := pki.NewCSR(key)
	require.NoError(w.t, err)
	cert, err := w.authority.Sign(csr, pki.Identity{ClusterID: "attack", Role: role, ID: id, Region: region}, time.Hour, time.Now())
	require.NoError(w.t, err)
	require.NoError(w.t, pki.SaveCredentials(dir, cert, w.authority.CertificatePEM()))
	creds, err := pki.LoadCredentials(dir)
	require.NoError(w.t, err)
	return creds
}

func (w *world) serve(region string) {
	w.t.Helper()
	w.node = w.member(pki.RoleNode, "n1", region)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	w.addr = api.NodeAddr{ID: "n1", Region: region, Addr: ln.Addr().String()}
	srv := &http.Server{Handler: w.routes(), ReadHeaderTimeout: 10 * time.Second}
	secure := tls.NewListener(ln, w.node.ServerTLS(pki.ALPNHTTP))
	go func() { _ = srv.Serve(secure) }()
	w.t.Cleanup(func() { _ = srv.Close() })
}

func (w *world) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(rw http.ResponseWriter, r *http.Request) {
			out, err := h(r)
			if err != nil {
				rw.WriteHeader(api.CodeOf(err).HTTPStatus())
				out = err
			}
			if raw, ok := out.([]byte); ok {
				_, _ = rw.Write(raw)
				return
			}
			_ = json.NewEncoder(rw).Encode(out)
		})
	}
	handle("POST /v1/enrol/agent", w.enrol)
	handle("POST /v1/agents/{id}/poll", w.poll)
	handle("POST /v1/swarm/{hash}/announce", func(*http.Request) (any, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		return api.AnnounceResponse{Peers: w.peers, Size: 1, Interval: api.Duration(time.Second)}, nil
	})
	mux.HandleFunc("GET /v1/tuf/{name}", func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		stream := w.stream
		w.mu.Unlock()
		if stream != nil {
			stream(rw)
			return
		}
		w.metadata(rw, r)
	})
	return mux
}

// metadata serves the repository, or what stands in the place of a file.
func (w *world) metadata(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	fetch := w.fetch
	w.mu.Unlock()
	name := r.PathValue("name")
	b := w.repo.File(name)
	if fetch != nil {
		if other, ok := fetch(name); ok {
			b = other
		}
	}
	if b == nil {
		err := api.Errorf(api.CodeNotFound, "no such file")
		rw.WriteHeader(err.Code.HTTPStatus())
		_ = json.NewEncoder(rw).Encode(err)
		return
	}
	_, _ = rw.Write(b)
}

func (w *world) enrol(r *http.Request) (any, error) {
	var req api.EnrolAgentRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, err
	}
	cert, err := w.authority.Sign(req.CSR, pki.Identity{ClusterID: "attack", Role: pki.RoleAgent, ID: req.AgentID, Region: req.Region}, time.Hour, time.Now())
	return api.EnrolAgentResponse{
		ClusterID: "attack", Certificate: cert, Authorities: w.authority.CertificatePEM(), Root: w.repo.Root(), Nodes: []api.NodeAddr{w.addr},
	}, err
}

func (w *world) poll(r *http.Request) (any, error) {
	var req api.PollRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls++
	w.quiet = len(req.Reports) == 0
	w.incidents = append(w.incidents, req.Incidents...)
	resp := api.PollResponse{NextPoll: api.Duration(250 * time.Millisecond), Nodes: []api.NodeAddr{w.addr}, Index: uint64(w.polls)}
	for _, rep := range req.Reports {
		resp.Accepted = append(resp.Accepted, rep.ID)
		w.reports = append(w.reports, rep)
	}
	for _, cmd := range w.queue {
		over := slices.ContainsFunc(w.reports, func(r api.Report) bool { return r.CommandID == cmd.ID && r.State.Terminal() })
		if over || slices.Contains(req.Held, cmd.ID) {
			continue
		}
		order, err := w.node.SignOrder(cmd, time.Now())
		if err != nil {
			return nil, err
		}
		cmd.Order = order
		if w.forge != nil {
			w.forge(&cmd)
		}
		w.seen[cmd.ID] = cmd.Order
		resp.Commands = append(resp.Commands, cmd)
	}
	return resp, nil
}

// publish signs a payload as the operator does, and seeds it.
func (w *world) publish(version string, payload []byte) { w.publishAs(version, payload, payload) }

// publishAs puts another payload's swarm behind the signature, as if SHA-1 had
// been broken.
func (w *world) publishAs(version string, payload, served []byte) {
	w.t.Helper()
	torrent, err := p2p.MakeTorrent(bytes.NewReader(served), int64(len(served)))
	require.NoError(w.t, err)
	w.repo.Publish("app", version, "app.bin", payload, torrent.InfoHash, torrent.PieceLength)
	w.seed(torrent, served)
}

// seeder is who gives payloads to the agent: the node or another agent.
func (w *world) seeder() (pki.Role, string) {
	if w.fromPeer {
		return pki.RoleAgent, "peer"
	}
	return pki.RoleNode, "n1"
}

// seed gives a payload to the agent, and returns the folder it is served from.
func (w *world) seed(torrent p2p.Torrent, payload []byte) (dir string) {
	w.t.Helper()
	role, id := w.seeder()
	creds := w.member(role, id, "eu")
	dir = w.t.TempDir()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	swarm, err := p2p.New(p2p.Config{
		Dir: dir, Self: p2p.Peer{ID: id, Region: "eu", Node: !w.fromPeer},
		Listener: tlsListener{ln, creds.PeerServerTLS(pki.ALPNSwarm)},
		Dial:     func(context.Context, string) (net.Conn, error) { return nil, net.ErrClosed },
		Identify: func(c net.Conn) (p2p.Peer, error) {
			i, err := pki.IdentityOf(c.(*tls.Conn).ConnectionState())
			return p2p.Peer{ID: i.ID, Region: i.Region}, err
		},
		Upload: ratelimit.NewBucket(api.Unlimited), Download: ratelimit.NewBucket(api.Unlimited), Logger: hclog.NewNullLogger(),
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = swarm.Close() })
	path := filepath.Join(w.t.TempDir(), "payload")
	require.NoError(w.t, os.WriteFile(path, payload, 0o600))
	require.NoError(w.t, swarm.Import(torrent, path))
	require.NoError(w.t, swarm.Seed(torrent.InfoHash, func(context.Context, string, int64) (api.AnnounceResponse, error) {
		return api.AnnounceResponse{Interval: api.Duration(time.Minute)}, nil
	}))
	w.meet(ln.Addr().String())
	return dir
}

// meet makes the tracker send the agent to an address.
func (w *world) meet(addr string) {
	_, id := w.seeder()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.peers = []api.SwarmPeer{{ID: id, Node: !w.fromPeer, Addr: addr}}
}

// poison publishes a payload, and then changes what is served of it on disk.
func (w *world) poison(version string, payload []byte) {
	w.t.Helper()
	torrent, err := p2p.MakeTorrent(bytes.NewReader(payload), int64(len(payload)))
	require.NoError(w.t, err)
	w.repo.Publish("app", version, "app.bin", payload, torrent.InfoHash, torrent.PieceLength)
	dir := w.seed(torrent, payload)
	files, err := filepath.Glob(filepath.Join(dir, "*", "data"))
	require.NoError(w.t, err)
	require.Len(w.t, files, 1)
	require.NoError(w.t, os.WriteFile(files[0], bytes.ToUpper(payload), 0o600))
}

// dribble publishes a payload, and has somebody serve it who sends a byte now
// and then.
func (w *world) dribble(version string, payload []byte) {
	w.t.Helper()
	torrent, err := p2p.MakeTorrent(bytes.NewReader(payload), int64(len(payload)))
	require.NoError(w.t, err)
	w.repo.Publish("app", version, "app.bin", payload, torrent.InfoHash, torrent.PieceLength)
	role, id := w.seeder()
	creds := w.member(role, id, "eu")
	ln, err := tls.Listen("tcp", "127.0.0.1:0", creds.PeerServerTLS(pki.ALPNSwarm))
	require.NoError(w.t, err)
	var conns sync.WaitGroup
	w.t.Cleanup(func() { _ = ln.Close(); conns.Wait() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { drip(conn, []byte("\x13BitTorrent protocol")) })
		}
	}()
	w.meet(ln.Addr().String())
}

// drip writes b over and over, a byte at a time, until the other end has had
// enough.
func drip(w io.Writer, b []byte) {
	if c, ok := w.(io.Closer); ok {
		defer c.Close()
	}
	for i := 0; ; i++ {
		if _, err := w.Write(b[i%len(b) : i%len(b)+1]); err != nil {
			return
		}
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
		time.Sleep(100 * time.Millisecond)
	}
}

type tlsListener struct {
	net.Listener
	conf *tls.Config
}

func (l tlsListener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(p2p.Wire(raw), l.conf), nil
}

// kill starts a new life of the agent from what is on disk at this moment, as
// after a loss of power. The old one ends where it cannot touch that any more.
func (w *world) kill(stop func()) {
	w.t.Helper()
	image := filepath.Join(w.t.TempDir(), "agent")
	require.NoError(w.t, os.CopyFS(image, os.DirFS(w.dataDir)))
	require.NoError(w.t, os.Chmod(filepath.Join(image, "identity", pki.KeyFile), 0o600))
	stop()
	w.dataDir = image
}

func (w *world) start() (stop func()) {
	w.t.Helper()
	a, err := agent.New(agent.Config{
		Patience: w.patience,
		ID:       "a1", Region: "eu", Nodes: []string{w.addr.Addr}, DataDir: w.dataDir, SwarmAddr: "127.0.0.1:0", Version: "test",
		Token: pki.RegistrationToken{ID: "t-1", Secret: secret, CA: w.authority.PublicKey(), RootHash: trust.RootHash(w.repo.Root())}.Encode(),
	})
	require.NoError(w.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			require.NoError(w.t, <-done)
		})
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) order(id, version string) {
	w.command(api.Command{ID: id + ":a1", RolloutID: id, Kind: api.KindInstall, Version: version})
}

func (w *world) command(c api.Command) {
	c.AgentID, c.Artifact = "a1", "app"
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, c)
}

// carried waits until the agent has carried a command out.
func (w *world) carried(id string) {
	w.t.Helper()
	w.until(id+" succeeds", func() bool { return w.reported(id) == api.StateSucceeded })
}

func (w *world) reported(id string) api.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	state := api.State("")
	for _, r := range w.reports {
		if r.CommandID == id+":a1" {
			state = r.State
		}
	}
	return state
}

// settled reports whether the last poll had nothing to report.
func (w *world) settled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.quiet
}

// diagnose says what the agent told the node, when the test fails.
func (w *world) diagnose() {
	if !w.t.Failed() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t.Logf("polls %d, incidents %+v, reports %+v, running %q", w.polls, w.incidents, w.reports, w.running())
}

func (w *world) incident() (api.Incident, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.incidents) == 0 {
		return api.Incident{}, false
	}
	return w.incidents[0], true
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	require.Eventually(w.t, ok, time.Minute, 20*time.Millisecond, what)
}

// running is what a service of the machine would start.
func (w *world) running() string {
	b, err := os.ReadFile(filepath.Join(w.dataDir, "artifacts", "app", "current", "app.bin"))
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(b)
}
