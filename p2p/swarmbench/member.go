//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"redflag/api"
	"redflag/p2p"
	"redflag/trust/pki"
)

const (
	region      = "bench"
	swarmPort   = 7001
	trackerPort = 7002
	filePort    = 7003
)

// spec is what a machine is told.
type spec struct {
	ID, Way, Dir string
	Host, Node   string // addresses of the machine and of the node
	Torrent      p2p.Torrent
	Payload      string // the file that the node starts with
}

func (s spec) isNode() bool { return s.Host == s.Node }

// data is where the machine keeps the payload.
func (s spec) data() string {
	if s.Way == wayHTTP {
		return filepath.Join(s.Dir, "data")
	}
	return filepath.Join(s.Dir, "swarm", s.Torrent.InfoHash, "data")
}

// machine is one process of a race.
type machine struct {
	spec
	creds *pki.Credentials
	swarm *p2p.Swarm
	calls *http.Client
}

// member runs one machine. It does what its standard input says and ends with it.
func member(ctx context.Context, path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m := &machine{}
	if err := json.Unmarshal(b, &m.spec); err != nil {
		return err
	}
	if m.creds, err = pki.LoadCredentials(m.Dir); err != nil {
		return err
	}
	if err := m.open(ctx); err != nil {
		return err
	}
	say(message{Event: "ready"})
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		event := in.Text()
		if event == "go" {
			event = "done"
			err = m.fetch(ctx)
		}
		stats, _ := m.stats()
		out := message{Event: event, At: time.Now(), Stats: stats}
		if err != nil {
			out.Error = err.Error()
		}
		say(out)
	}
	return nil
}

func say(m message) { _ = json.NewEncoder(os.Stdout).Encode(m) }

func (m *machine) stats() (p2p.Stats, bool) {
	if m.swarm == nil {
		return p2p.Stats{}, false
	}
	return m.swarm.Stats(m.Torrent.InfoHash)
}

func at(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

func (m *machine) open(ctx context.Context) error {
	if m.Way == wayHTTP {
		if m.isNode() {
			return m.serve(ctx, filePort, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.ServeFile(w, r, m.Payload)
			}), nil)
		}
		return nil
	}
	ln, err := (&net.ListenConfig{Control: common}).Listen(ctx, "tcp", at(m.Host, swarmPort))
	if err != nil {
		return err
	}
	logger := hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Name: m.ID})
	m.swarm, err = p2p.New(p2p.Config{
		Dir:      filepath.Join(m.Dir, "swarm"),
		Self:     p2p.Peer{ID: m.ID, Region: region, Node: m.isNode()},
		Listener: secured{ln, m.creds.PeerServerTLS(pki.ALPNSwarm)},
		Dial:     m.dial, Identify: identify, Logger: logger,
	})
	if err != nil {
		return err
	}
	if !m.isNode() {
		m.calls = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: m.creds.NodeClientTLS(pki.ALPNHTTP)}}
		return nil
	}
	copied := filepath.Join(m.Dir, "import")
	if err := copyFile(copied, m.Payload); err != nil {
		return err
	}
	if err := m.swarm.Import(m.Torrent, copied); err != nil {
		return err
	}
	return m.track(ctx)
}

// track serves the tracker as a node does.
func (m *machine) track(ctx context.Context) error {
	tracker := p2p.NewTracker()
	return m.serve(ctx, trackerPort, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req api.AnnounceRequest
		id, err := pki.IdentityOf(*r.TLS)
		if err == nil {
			err = json.NewDecoder(io.LimitReader(r.Body, 4<<10)).Decode(&req)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		resp := tracker.Announce(m.Torrent.InfoHash, p2p.Member{
			Peer: p2p.Peer{ID: id.ID, Region: id.Region}, Addr: at(host, req.Port), Left: req.Left,
		}, time.Now())
		if req.Left > 0 {
			resp.Peers = append(resp.Peers, api.SwarmPeer{ID: m.ID, Node: true, Addr: at(m.Host, swarmPort)})
		}
		_ = json.NewEncoder(w).Encode(resp)
	}), m.creds.ServerTLS(pki.ALPNHTTP))
}

func (m *machine) serve(ctx context.Context, port int, h http.Handler, conf *tls.Config) error {
	ln, err := (&net.ListenConfig{Control: common}).Listen(ctx, "tcp", at(m.Host, port))
	if err != nil {
		return err
	}
	if conf != nil {
		ln = tls.NewListener(ln, conf)
	}
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = srv.Serve(ln) }() // until the process ends
	return nil
}

func (m *machine) announce(ctx context.Context, _ string, left int64) (resp api.AnnounceResponse, err error) {
	c := api.Client{Servers: []string{"https://" + at(m.Node, trackerPort)}, HTTP: m.calls}
	err = c.Do(ctx, http.MethodPost, "/announce", api.AnnounceRequest{Port: swarmPort, Left: left}, &resp)
	return resp, err
}

func (m *machine) fetch(ctx context.Context) error {
	if m.Way == wayHTTP {
		return m.download(ctx)
	}
	_, err := m.swarm.Fetch(ctx, p2p.FetchSpec{
		InfoHash: m.Torrent.InfoHash, Length: m.Torrent.Length, PieceLength: m.Torrent.PieceLength, Announce: m.announce,
	}, nil)
	return err
}

// download takes the file from the node by plain HTTP. It goes on where a
// connection broke, as any download tool can.
func (m *machine) download(ctx context.Context) (err error) {
	out, err := os.Create(m.data())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	c := http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Control: common}).DialContext}}
	var have int64
	for broke := range maxBroken {
		var n int64
		n, err = m.continueAt(ctx, &c, out, have)
		have += n
		if err == nil && have == m.Torrent.Length {
			return nil
		}
		fmt.Fprintf(os.Stderr, "%s: connection %d broke after %d bytes: %v\n", m.ID, broke+1, n, err)
	}
	return errors.Join(fmt.Errorf("download: %d of %d bytes", have, m.Torrent.Length), err)
}

// maxBroken is how many connections of a download may break.
const maxBroken = 5

func (m *machine) continueAt(ctx context.Context, c *http.Client, out io.Writer, have int64) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at(m.Node, filePort), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", have))
	resp, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return 0, fmt.Errorf("download: %s", resp.Status)
	}
	return io.Copy(out, resp.Body)
}

func (m *machine) dial(ctx context.Context, addr string) (net.Conn, error) {
	c, err := (&net.Dialer{Control: common}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return tls.Client(p2p.Wire(c), m.creds.PeerClientTLS(pki.ALPNSwarm)), nil
}

// secured is the listener of the swarm; the swarm does the handshakes.
type secured struct {
	net.Listener
	conf *tls.Config
}

// Accept implements net.Listener.
func (l secured) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(p2p.Wire(c), l.conf), nil
}

func identify(c net.Conn) (p2p.Peer, error) {
	t, ok := c.(*tls.Conn)
	if !ok {
		return p2p.Peer{}, fmt.Errorf("connection of type %T has no certificate", c)
	}
	id, err := pki.IdentityOf(t.ConnectionState())
	return p2p.Peer{ID: id.ID, Region: id.Region, Node: id.Role == pki.RoleNode}, err
}

// common gives a socket the congestion control that most systems have,
// whatever this one is set to. The server's end of a connection takes it from
// its listener.
func common(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "cubic")
	})
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
