//go:build unix

package e2e

import (
	"bytes"
	"crypto/tls"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// firewall passes connections on to a node, but for those that speak the swarm's
// protocol while it is closed. Their ALPN stands in clear in the first message.
type firewall struct {
	net.Listener
	to     atomic.Value // string
	closed atomic.Bool

	mu    sync.Mutex
	swarm []net.Conn
}

func newFirewall(t *testing.T) *firewall {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	f := &firewall{Listener: ln}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go f.pass(c)
		}
	}()
	return f
}

// close cuts what is open besides.
func (f *firewall) close() {
	f.closed.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.swarm {
		_ = c.Close()
	}
}

func (f *firewall) pass(c net.Conn) {
	defer c.Close()
	seen := &peeked{Conn: c}
	swarm := false
	_ = tls.Server(seen, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		swarm = slices.Contains(h.SupportedProtos, "redflag-swarm/1")
		return nil, io.EOF
	}}).Handshake()
	to, _ := f.to.Load().(string)
	if to == "" || (swarm && f.closed.Load()) {
		return
	}
	if swarm {
		f.mu.Lock()
		f.swarm = append(f.swarm, c)
		f.mu.Unlock()
	}
	up, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer up.Close()
	go func() {
		_, _ = io.Copy(up, io.MultiReader(bytes.NewReader(seen.read.Bytes()), c))
		_ = up.Close()
	}()
	_, _ = io.Copy(c, up)
}

// peeked keeps what was read, and swallows the alert that is the answer.
type peeked struct {
	net.Conn
	read bytes.Buffer
}

func (p *peeked) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.read.Write(b[:n])
	return n, err
}

func (p *peeked) Write(b []byte) (int, error) { return len(b), nil }

func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	return ln.Addr().String()
}

// blocks is what a folder takes of the disk, in bytes.
func blocks(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it is being written
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}

func TestFallbackBehindAFirewall(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	wall := newFirewall(t)
	behind := freeAddr(t)
	wall.to.Store(behind)
	m.first = m.node("n1", "eu", "--mesh-listen", behind, "--mesh-advertise", wall.Addr().String())
	m.eventually("the first node founds a cluster", func() bool {
		_, _, err := m.try("keys", "init")
		return err == nil
	})
	m.run("settings", "set", "poll.idle=1s", "poll.pending=300ms", "poll.downloading=300ms", "agent.fallback_after=1s", "node.upload_limit=40mbit")
	m.agent("a1", "eu", m.first)
	file := m.path("app.bin")
	payload := make([]byte, 12<<20)
	put := func(seed byte) {
		_, _ = rand.NewChaCha8([32]byte{seed}).Read(payload)
		require.NoError(t, os.WriteFile(file, payload, 0o600))
	}

	wall.closed.Store(true)
	put(1)
	a, x := m.update("app", "1.0", file)
	require.Equal(t, a.Length, x.Transfer.FromFallback, "all of it over HTTPS")
	var rollouts []rollout
	m.runJSON(&rollouts, "rollout", "list")
	m.eventually("the swarm tells HTTPS from the rest", func() bool {
		var s api.Swarm
		m.runJSON(&s, "swarm", "show", rollouts[0].ID)
		return s.Bytes == api.SwarmBytes{HTTPS: a.Length}
	})
	require.Equal(t, string(payload), m.installed("a1"))

	// The wall comes up in the middle: what the swarm has brought is kept.
	wall.closed.Store(false)
	put(2)
	go func() {
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			if blocks(m.path("a1", "swarm")) > 12<<20+4<<20 {
				break
			}
		}
		wall.close()
	}()
	a, x = m.update("app", "2.0", file)
	require.Positive(t, x.Transfer.FromNodes)
	require.Positive(t, x.Transfer.FromFallback)
	require.LessOrEqual(t, x.fetched(), a.Length+(2<<20), "no more than what was under way when the wall came up is fetched again")
	require.Equal(t, string(payload), m.installed("a1"))
}
