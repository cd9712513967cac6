package p2ptest

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/p2p"
	"redflag/ratelimit"
)

// World is where machines meet.
type World struct {
	Tracker *Tracker
	tb      testing.TB
	ca      *authority
}

// NewWorld returns an empty world.
func NewWorld(tb testing.TB) *World {
	tb.Helper()
	return &World{
		Tracker: &Tracker{swarms: make(map[string]map[string]member)},
		tb:      tb,
		ca:      newAuthority(tb),
	}
}

// Options of a machine; the zero value is a machine without caps and with an
// empty store.
type Options struct {
	Dir              string
	Upload, Download api.Rate
	Logger           hclog.Logger
	Banned           func(peerID string)
}

// Machine is one member of a world. It is closed when the test ends.
type Machine struct {
	*p2p.Swarm
	Peer     p2p.Peer
	Dir      string
	Addr     string
	Announce p2p.Announcer
}

// Join starts a machine.
func (w *World) Join(peer p2p.Peer, o Options) *Machine {
	w.tb.Helper()
	if o.Dir == "" {
		o.Dir = w.tb.TempDir()
	}
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test harness
	require.NoError(w.tb, err)
	settings := w.ca.issue(w.tb, peer)
	s, err := p2p.New(p2p.Config{
		Dir:      o.Dir,
		Self:     peer,
		Listener: tls.NewListener(limited{inner}, settings),
		Dial:     dial(settings),
		Identify: identify,
		Upload:   ratelimit.NewBucket(o.Upload),
		Download: ratelimit.NewBucket(o.Download),
		Banned:   o.Banned,
		Logger:   o.Logger,
	})
	require.NoError(w.tb, err)
	w.tb.Cleanup(func() { _ = s.Close() })
	return &Machine{
		Swarm:    s,
		Peer:     peer,
		Dir:      o.Dir,
		Addr:     inner.Addr().String(),
		Announce: w.Tracker.Announcer(peer, inner.Addr().String()),
	}
}

// Listen returns a listener under a peer's certificate, for a test that speaks
// the protocol itself, and announces it as having the whole payload.
func (w *World) Listen(peer p2p.Peer, infoHash string) net.Listener {
	w.tb.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test harness
	require.NoError(w.tb, err)
	w.tb.Cleanup(func() { _ = inner.Close() })
	_, err = w.Tracker.Announcer(peer, inner.Addr().String())(w.tb.Context(), infoHash, 0)
	require.NoError(w.tb, err)
	return tls.NewListener(inner, w.ca.issue(w.tb, peer))
}

// Dial connects to a machine under a peer's certificate.
func (w *World) Dial(peer p2p.Peer, m *Machine) net.Conn {
	w.tb.Helper()
	c, err := dial(w.ca.issue(w.tb, peer))(w.tb.Context(), m.Addr)
	require.NoError(w.tb, err)
	w.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Seed imports content under the torrent t and announces it. It does not check
// that they belong together: that is how a machine that lies is made.
func (m *Machine) Seed(tb testing.TB, t p2p.Torrent, content []byte) {
	tb.Helper()
	path := filepath.Join(m.Dir, "upload")
	require.NoError(tb, os.WriteFile(path, content, 0o600))
	require.NoError(tb, m.Import(t, path))
	require.NoError(tb, m.Swarm.Seed(t.InfoHash, m.Announce))
}

// Spec is what the machine would fetch t by.
func (m *Machine) Spec(t p2p.Torrent) p2p.FetchSpec {
	return p2p.FetchSpec{InfoHash: t.InfoHash, Length: t.Length, PieceLength: t.PieceLength, Announce: m.Announce}
}

// MakeTorrent describes content.
func MakeTorrent(tb testing.TB, content []byte) p2p.Torrent {
	tb.Helper()
	t, err := p2p.MakeTorrent(bytes.NewReader(content), int64(len(content)))
	require.NoError(tb, err)
	return t
}

// limited counts and limits what it accepts.
type limited struct{ net.Listener }

func (l limited) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return p2p.Wire(c), nil
}

func dial(settings *tls.Config) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		return tls.Client(p2p.Wire(c), settings), nil
	}
}
