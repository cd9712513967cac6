package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"redflag/api"
	"redflag/consensus"
	"redflag/consensus/state"
	"redflag/durable"
	"redflag/node/archive"
	"redflag/p2p"
	"redflag/ratelimit"
	"redflag/regions/gossip"
	"redflag/telemetry"
	"redflag/telemetry/otlp"
	"redflag/trust/pki"
)

const (
	// shutdownTimeout bounds each step of a clean shutdown.
	shutdownTimeout = 5 * time.Second
	// leaveTimeout is how long a node says goodbye to the others, who may be
	// gone themselves.
	leaveTimeout = time.Second
)

// Node is one running server.
type Node struct {
	cfg       Config
	log       hclog.Logger
	startedAt time.Time
	meshAddr  string // as others dial it
	apiURL    string

	creds      *pki.Credentials
	sealingKey []byte
	// savedIssuer is the sealed key of the CA that is on disk; keepIdentity's.
	savedIssuer []byte
	sealer      *pki.Sealer

	mesh     *mesh
	meshHTTP *http.Client
	cluster  *consensus.Cluster
	gossip   *gossip.Gossip
	swarm    *p2p.Swarm
	payloads *payloads
	plain    *plainMode

	metrics                  *metrics
	monitor                  healthMonitor
	logs                     logs
	presence                 *presence
	swarms                   *swarms
	tracker                  *p2p.Tracker
	crossers                 crossers
	enrolments               liveRate
	connections              atomic.Int64 // of members, open now
	mostConnections          atomic.Int64 // that are kept from poll to poll, by the settings
	uploadCap                *ratelimit.Bucket
	ranges                   ranges // of payloads, that agents are being served
	siteDownload, siteUpload *ratelimit.Budget
	downloadCap              *ratelimit.Bucket
	pace                     *pace
	archive                  *archive.Archive
	guesses                  guesses
	confirmed                confirmations
	auditQueue               auditQueue
	auditEvents              eventRates
	sessions                 *pki.Sessions
	export                   *otlp.Exporter
}

// New returns a node that does nothing until Run.
func New(cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, startedAt: time.Now().UTC(),
		presence: newPresence(), swarms: newSwarms(), pace: newPace(), tracker: p2p.NewTracker(),
		uploadCap:    ratelimit.NewBucket(api.Unlimited),
		siteDownload: ratelimit.NewBudget(), siteUpload: ratelimit.NewBudget(),
		downloadCap: ratelimit.NewBucket(api.Unlimited),
		metrics:     newMetrics(),
	}
	n.plain = n.newPlainMode()
	if err := n.openExport(); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *Node) state() *state.Machine { return n.cluster.State() }

// Run serves until ctx ends or something that the node cannot live without
// breaks. It returns nil after a clean shutdown.
func (n *Node) Run(ctx context.Context) error {
	for _, dir := range []string{n.cfg.DataDir, n.uploadsDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make data directory: %w", err)
		}
	}
	lock := flock.New(n.path("lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return errors.Join(api.Errorf(api.CodeConflict, "another node runs on %s", n.cfg.DataDir).
			WithHint("stop it, or use another --data-dir"), err)
	}
	defer lock.Unlock() //nolint:errcheck // the process ends and the lock with it

	if err := n.dropHalfUploads(); err != nil {
		return err
	}
	meshLn, apiLn, err := n.listen(ctx)
	if err != nil {
		return err
	}
	defer meshLn.Close()
	defer apiLn.Close()
	birth, err := n.ensureMember(ctx)
	if err != nil {
		return err
	}
	if n.sealer, err = pki.NewSealer(n.sealingKey); err != nil {
		return fmt.Errorf("load sealing key: %w", err)
	}
	if n.sessions, err = pki.NewSessions(n.sealingKey); err != nil {
		return err
	}
	if err := n.reviveIdentity(); err != nil {
		return err
	}
	return n.serveUntil(ctx, meshLn, apiLn, birth)
}

func (n *Node) listen(ctx context.Context) (meshLn, apiLn net.Listener, err error) {
	mesh := net.ListenConfig{KeepAlive: -1} // mesh.admit asks for it
	var lc net.ListenConfig
	if meshLn, err = mesh.Listen(ctx, "tcp", n.cfg.MeshListen); err != nil {
		return nil, nil, fmt.Errorf("mesh: %w", err)
	}
	if apiLn, err = lc.Listen(ctx, "tcp", n.cfg.APIListen); err != nil {
		_ = meshLn.Close()
		return nil, nil, fmt.Errorf("operators' API: %w", err)
	}
	if n.meshAddr, err = n.cfg.advertised(meshLn.Addr()); err != nil {
		return nil, nil, err
	}
	scheme := "https"
	if n.cfg.apiIsLoopback() && n.cfg.APICert == "" {
		scheme = "http"
	}
	n.apiURL = scheme + "://" + n.reachable(apiLn.Addr())
	return meshLn, apiLn, nil
}

// reachable names a listener's address as operators can dial it: one that
// listens everywhere is found under the host of the mesh address.
func (n *Node) reachable(bound net.Addr) string {
	host, port, err := net.SplitHostPort(bound.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		host, _, _ = net.SplitHostPort(n.meshAddr)
		return net.JoinHostPort(host, port)
	}
	return bound.String()
}

// serveUntil starts the parts from the ground up and stops them in reverse:
// first no more requests, then leadership moves on, then the cluster is told
// that this node leaves, and the mesh port goes last because all the others
// speak through it.
func (n *Node) serveUntil(ctx context.Context, meshLn, apiLn net.Listener, b *birth) (err error) {
	n.mesh = newMesh(meshLn, n.creds, n.log.Named("mesh"))
	n.meshHTTP = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return n.mesh.dial(ctx, addr, pki.ALPNHTTP)
		},
		MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
	}}
	meshCtx, stopMesh := context.WithCancel(context.WithoutCancel(ctx))
	var meshGroup errgroup.Group
	meshGroup.Go(func() error { return n.mesh.run(meshCtx) })
	defer func() {
		stopMesh()
		err = errors.Join(err, meshGroup.Wait())
	}()

	if b == nil {
		if err := n.mayVote(ctx); err != nil {
			return err
		}
	}
	if err := n.openLogs(ctx); err != nil {
		return err
	}
	defer n.closing(ctx, "logs", n.closeLogs)
	if err := n.openCluster(ctx, b); err != nil {
		return err
	}
	defer n.closing(ctx, "cluster", n.cluster.Close)
	if n.archive, err = archive.Open(n.path("archive")); err != nil {
		return err
	}
	defer n.closing(ctx, "archive", func(context.Context) error { return n.archive.Close() })
	if err := n.openGossip(); err != nil { //nolint:contextcheck // gossip resolves names within bounds of its own
		return err
	}
	defer n.closing(ctx, "gossip", func(context.Context) error {
		return errors.Join(n.gossip.Leave(leaveTimeout), n.gossip.Close())
	})
	if err := n.openSwarm(); err != nil {
		return err
	}
	defer n.closing(ctx, "swarm", func(context.Context) error { return n.swarm.Close() })

	if b != nil {
		if err := n.commitBirth(ctx, b); err != nil {
			return err
		}
	}
	if err := n.writeRuntime(); err != nil {
		return err
	}
	n.log.Info("node started", "mesh", n.meshAddr, "api", n.apiURL, "version", n.cfg.Version)
	return n.runParts(ctx, apiLn)
}

// closing runs a step of the shutdown with a bound and a log line.
func (n *Node) closing(ctx context.Context, part string, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := f(ctx); err != nil {
		n.log.Warn("part did not stop cleanly", "part", part, telemetry.KeyError, err)
	}
}

func (n *Node) openCluster(ctx context.Context, b *birth) (err error) {
	n.cluster, err = consensus.Open(consensus.Config{ //nolint:contextcheck // it runs until Close, not until ctx ends
		NodeID: n.cfg.ID, Addr: n.meshAddr, Dir: n.path("cluster"),
		Listener: n.mesh.listener(pki.ALPNRaft), Dial: n.mesh.dialRaft, Forward: n.forward,
		Timeout: n.cfg.RaftTimeout, Logger: n.log.Named("consensus"), Applied: n.logApplied, Ended: n.metrics.ended,
	})
	if err != nil {
		return fmt.Errorf("open cluster state: %w", err)
	}
	n.creds.SetRevoked(n.revoked)
	n.mesh.enrolled = n.enrolledNode
	close(n.mesh.ready)
	if b == nil {
		return nil
	}
	if err := n.cluster.Bootstrap(); err != nil {
		n.closing(ctx, "cluster", n.cluster.Close)
		return fmt.Errorf("found cluster: %w", err)
	}
	return nil
}

func (n *Node) openGossip() (err error) {
	n.gossip, err = gossip.Start(gossip.Config{
		Self:     gossip.Member{ID: n.cfg.ID, Region: n.cfg.Region, MeshAddr: n.meshAddr, Version: n.cfg.Version, Alive: true},
		Listener: n.mesh.listener(pki.ALPNGossip), Dial: n.mesh.dialer(pki.ALPNGossip), Logger: n.log.Named("gossip"),
	})
	if err != nil {
		return fmt.Errorf("start gossip: %w", err)
	}
	return nil
}

func (n *Node) openSwarm() (err error) {
	n.restoreCaps()
	n.payloads = newPayloads(n)
	n.swarm, err = p2p.New(p2p.Config{
		Dir: n.path("swarm"), Self: p2p.Peer{ID: n.cfg.ID, Region: n.cfg.Region, Node: true},
		Listener: n.mesh.listener(pki.ALPNSwarm), Dial: n.mesh.dialer(pki.ALPNSwarm), Identify: identify,
		Upload: n.uploadCap, Download: n.downloadCap, Logger: n.log, Serves: n.servesPeer,
		Banned: func(peerID string) { n.auditSelf("refused: peer", peerID+" is banned for corrupt data") },
	})
	if err != nil {
		return fmt.Errorf("start swarm: %w", err)
	}
	n.payloads.swarm = n.swarm
	if err := n.swarm.SeedAll(n.payloads.announce); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	return nil
}

// identify reads who is at the other end of a swarm connection.
func identify(c net.Conn) (p2p.Peer, error) {
	conn, ok := c.(*tls.Conn)
	if !ok {
		return p2p.Peer{}, fmt.Errorf("connection of type %T has no certificate", c)
	}
	id, err := pki.IdentityOf(conn.ConnectionState())
	if err != nil {
		return p2p.Peer{}, err
	}
	return p2p.Peer{ID: id.ID, Region: id.Region, Node: id.Role == pki.RoleNode}, nil
}

func (n *Node) runParts(ctx context.Context, apiLn net.Listener) error {
	n.metrics.registry.MustRegister(stateCollector{n})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return n.serveHTTP(ctx, n.mesh.listener(pki.ALPNHTTP), n.uncrowded(n.meshRoutes()), n.countConnection)
	})
	g.Go(func() error { return n.serveAPI(ctx, apiLn) })
	g.Go(func() error { return n.followSettings(ctx) })
	g.Go(func() error { return n.payloads.run(ctx) })
	g.Go(func() error { return n.servePlain(ctx) })
	g.Go(func() error { return n.announceAddress(ctx) })
	g.Go(func() error { return n.keepGossiping(ctx) })
	g.Go(func() error { return n.sweep(ctx) })
	g.Go(func() error { return n.tellLoad(ctx) })
	g.Go(func() error { return n.watchHealth(ctx) })
	g.Go(func() error { return n.keepHistory(ctx) })
	g.Go(func() error { return n.logs.store.Run(ctx) })
	g.Go(func() error { return n.keepOwnLog(ctx) })
	g.Go(func() error { return n.trimLogs(ctx) })
	g.Go(func() error { return n.keepIdentity(ctx) })
	g.Go(func() error { return n.proposeConfirmations(ctx) })
	g.Go(func() error { return n.writeAudit(ctx) })
	g.Go(func() error { return n.export.Run(ctx) })
	g.Go(func() error { return n.countOutcomes(ctx) })
	g.Go(func() error {
		if err := n.cluster.RunOnLeader(ctx, n.lead); ctx.Err() == nil {
			return err
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case err := <-n.cluster.Failed():
			return fmt.Errorf("the replicated state is broken: %w", err)
		}
	})
	err := g.Wait()
	n.closing(ctx, "audit", n.flushAudit) // of the last requests
	return err
}

func (n *Node) serveAPI(ctx context.Context, ln net.Listener) error {
	switch {
	case n.cfg.APICert != "":
		cert, err := tls.LoadX509KeyPair(n.cfg.APICert, n.cfg.APIKey)
		if err != nil {
			return fmt.Errorf("load the API certificate: %w", err)
		}
		ln = tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, NextProtos: []string{pki.ALPNHTTP}})
	case !n.cfg.apiIsLoopback():
		ln = tls.NewListener(ln, n.creds.ServerTLS(pki.ALPNHTTP))
	}
	return n.serveHTTP(ctx, ln, n.apiRoutes(), nil)
}

func (n *Node) serveHTTP(ctx context.Context, ln net.Listener, h http.Handler, watch func(net.Conn, http.ConnState)) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: bodyTimeout, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog:    n.log.Named("http").StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnContext: withWire, ConnState: watch,
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Requests under way end before the parts that they use do.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := srv.Shutdown(ending); err != nil {
		_ = srv.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// keepGossiping joins known nodes that gossip does not see: at start, and
// after a partition that lasted longer than memberlist remembers.
func (n *Node) keepGossiping(ctx context.Context) error {
	for wait := time.Duration(0); ; wait = 2 * time.Second {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		missing := n.unseen()
		if len(missing) == 0 {
			continue
		}
		// memberlist takes no context, and waits 10 s for each address that is
		// silent: a leader that stops must not, for until then it keeps the lead.
		joined := make(chan error, 1)
		go func() { //nolint:contextcheck // there is none that it would take
			_, err := n.gossip.Join(missing)
			joined <- err
		}()
		select {
		case <-ctx.Done():
			return nil
		case err := <-joined:
			if err != nil {
				n.log.Debug("gossip join failed", telemetry.KeyError, err)
			}
		}
	}
}

// unseen returns the addresses of nodes that gossip does not see alive.
func (n *Node) unseen() []string {
	alive := map[string]bool{n.cfg.ID: true}
	for _, m := range n.gossip.Members() {
		alive[m.ID] = alive[m.ID] || m.Alive
	}
	missing := n.knownAddresses(func(id string) bool { return !alive[id] })
	if len(missing) == 0 && len(alive) == 1 {
		return n.firstPeers()
	}
	return missing
}

// knownAddresses returns where the nodes that want picks may be. After a start
// the replicated state may be empty until the leader has been heard, but the
// Raft configuration is in the log and names the voters.
func (n *Node) knownAddresses(want func(id string) bool) []string {
	addrs := map[string]bool{}
	for _, v := range n.cluster.Status().Servers() {
		addrs[v.Addr] = addrs[v.Addr] || want(v.ID)
	}
	for _, m := range n.state().Nodes() {
		addrs[m.MeshAddr] = addrs[m.MeshAddr] || want(m.ID)
	}
	maps.DeleteFunc(addrs, func(_ string, wanted bool) bool { return !wanted })
	return slices.Collect(maps.Keys(addrs))
}

// sweep forgets what is no longer needed.
func (n *Node) sweep(ctx context.Context) error {
	for {
		n.tracker.Sweep(time.Now())
		n.siteDownload.Sweep(time.Now())
		n.siteUpload.Sweep(time.Now())
		n.presence.sweep(time.Now())
		n.swarms.sweep(time.Now())
		n.pace.sweep(time.Now())
		n.sweepUploads(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Minute):
		}
	}
}

// Runtime is where a running node is found; it stands in runtime.json of its
// data directory, so that port 0 can be used.
type Runtime struct {
	ID     string `json:"id"`
	Region string `json:"region"`
	Mesh   string `json:"mesh"`
	API    string `json:"api"`
	PID    int    `json:"pid"`
}

func (n *Node) writeRuntime() error {
	b, err := json.Marshal(Runtime{ID: n.cfg.ID, Region: n.cfg.Region, Mesh: n.meshAddr, API: n.apiURL, PID: os.Getpid()})
	if err != nil {
		return err
	}
	return durable.WriteFile(n.path("runtime.json"), b, 0o600)
}
