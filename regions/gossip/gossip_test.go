package gossip

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"redflag/trust/pki"
)

// quick is the real profile with a fifth of its patience.
func quick() *memberlist.Config {
	conf := profile()
	conf.ProbeInterval /= 5
	conf.ProbeTimeout /= 5
	conf.DeadNodeReclaimTime = time.Millisecond
	return conf
}

// cluster makes members that speak TLS with certificates of one authority.
type cluster struct {
	t         *testing.T
	authority *pki.Authority
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	a, err := pki.NewAuthority("c1", time.Now())
	require.NoError(t, err)
	return &cluster{t: t, authority: a}
}

func (c *cluster) credentials(id string) *pki.Credentials {
	c.t.Helper()
	dir := c.t.TempDir()
	key, err := pki.LoadOrCreateKey(filepath.Join(dir, pki.KeyFile))
	require.NoError(c.t, err)
	csr, err := pki.NewCSR(key)
	require.NoError(c.t, err)
	cert, err := c.authority.Sign(csr, pki.Identity{ClusterID: "c1", Role: pki.RoleNode, ID: id, Region: "r-" + id}, time.Hour, time.Now())
	require.NoError(c.t, err)
	require.NoError(c.t, pki.SaveCredentials(dir, cert, c.authority.CertificatePEM()))
	creds, err := pki.LoadCredentials(dir)
	require.NoError(c.t, err)
	return creds
}

// start runs a member on addr, or on a free port for port 0.
func (c *cluster) start(id, addr string) *Gossip {
	c.t.Helper()
	creds := c.credentials(id)
	ln, err := net.Listen("tcp", addr)
	require.NoError(c.t, err)
	g, err := start(Config{
		Self:     Member{ID: id, Region: "r-" + id, MeshAddr: ln.Addr().String(), Version: "1.0.0"},
		Listener: tls.NewListener(ln, creds.PeerServerTLS(pki.ALPNGossip)),
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			d := tls.Dialer{Config: creds.NodeClientTLS(pki.ALPNGossip)}
			return d.DialContext(ctx, "tcp", addr)
		},
		Logger: hclog.NewNullLogger(),
	}, quick())
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = g.Close() })
	return g
}

// requireAlive waits until g sees exactly these members alive.
func requireAlive(t *testing.T, g *Gossip, ids ...string) {
	t.Helper()
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		var alive []string
		for _, m := range g.Members() {
			if m.Alive {
				alive = append(alive, m.ID)
			}
		}
		require.Equal(t, ids, alive)
	}, 15*time.Second, 20*time.Millisecond)
}

func TestMembersSeeEachOtherDieAndReturn(t *testing.T) {
	c := newCluster(t)
	const free = "127.0.0.1:0"
	n1, n2, n3 := c.start("n1", free), c.start("n2", free), c.start("n3", free)

	joined, err := n2.Join([]string{n2.self, n1.self})
	require.NoError(t, err)
	require.Equal(t, 1, joined, "its own address does not count")
	_, err = n3.Join([]string{n2.self})
	require.NoError(t, err)
	for _, g := range []*Gossip{n1, n2, n3} {
		requireAlive(t, g, "n1", "n2", "n3")
	}
	require.Equal(t,
		Member{ID: "n3", Region: "r-n3", MeshAddr: n3.self, Version: "1.0.0", Alive: true},
		n1.Members()[2])

	require.NoError(t, n3.Close()) // says nothing: dead
	requireAlive(t, n1, "n1", "n2")
	requireAlive(t, n2, "n1", "n2")
	require.Equal(t, "n3", n1.Members()[2].ID, "the dead are still shown")

	n3 = c.start("n3", n3.self)
	_, err = n3.Join([]string{n1.self})
	require.NoError(t, err)
	for _, g := range []*Gossip{n1, n2, n3} {
		requireAlive(t, g, "n1", "n2", "n3")
	}

	require.NoError(t, n3.Leave(5*time.Second))
	require.NoError(t, n3.Close())
	require.NoError(t, n3.Leave(time.Second), "leaving after the end is harmless")
	left := time.Now()
	requireAlive(t, n1, "n1", "n2")
	requireAlive(t, n2, "n1", "n2")
	require.Less(t, time.Since(left), 1500*time.Millisecond, "a farewell needs no suspicion")

	n3 = c.start("n3", free) // another port
	_, err = n3.Join([]string{n1.self})
	require.NoError(t, err)
	for _, g := range []*Gossip{n1, n2, n3} {
		requireAlive(t, g, "n1", "n2", "n3")
	}
	require.Equal(t, n3.self, n1.Members()[2].MeshAddr)
}

func TestJoinRefused(t *testing.T) {
	n1 := newCluster(t).start("n1", "127.0.0.1:0")
	other := newCluster(t).start("n2", "127.0.0.1:0")
	for _, addr := range []string{other.self, "127.0.0.1:1", "127.0.0.1", "nonsense.invalid:1"} {
		joined, err := n1.Join([]string{addr})
		require.Error(t, err, addr)
		require.NotContains(t, err.Error(), "\n")
		require.Zero(t, joined)
	}
	requireAlive(t, n1, "n1")
	joined, err := n1.Join([]string{n1.self})
	require.NoError(t, err, "a cluster of one has nobody to join")
	require.Zero(t, joined)
}

func TestStartRefused(t *testing.T) {
	good := Member{ID: "n1", Region: "eu", MeshAddr: "127.0.0.1:7420"}
	for name, spoil := range map[string]func(*Member){
		"id":      func(m *Member) { m.ID = "../n1" },
		"region":  func(m *Member) { m.Region = "" },
		"address": func(m *Member) { m.MeshAddr = "127.0.0.1" },
		"port":    func(m *Member) { m.MeshAddr = "127.0.0.1:0" },
		"meta":    func(m *Member) { m.Version = string(make([]byte, 600)) },
	} {
		t.Run(name, func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			self := good
			spoil(&self)
			_, err = Start(Config{Self: self, Listener: ln, Logger: hclog.NewNullLogger()})
			require.Error(t, err)
			require.ErrorIs(t, ln.Close(), net.ErrClosed, "the listener is closed")
		})
	}
}

func TestLoadAndDistance(t *testing.T) {
	c := newCluster(t)
	n1, n2, n3 := c.start("n1", "127.0.0.1:0"), c.start("n2", "127.0.0.1:0"), c.start("n3", "127.0.0.1:0")
	for _, g := range []*Gossip{n2, n3} {
		_, err := g.Join([]string{n1.self})
		require.NoError(t, err)
	}
	requireAlive(t, n2, "n1", "n2", "n3")
	require.NoError(t, n1.SetLoad(loadStep-1))
	require.NoError(t, n1.SetLoad(75))
	require.Eventually(t, func() bool { return n2.Members()[0].Load == 75 }, 20*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool {
		members := n2.Members()
		return members[0].RTT > 0 && members[2].RTT > 0 && n2.Distances("n1")["n3"] > 0
	}, 20*time.Second, 10*time.Millisecond, "pings measure")
	require.Zero(t, n2.Members()[1].RTT, "nobody is far from himself")
	require.Less(t, n2.Members()[0].RTT, 2*time.Second)
	require.NoError(t, n1.Close())
	require.NoError(t, n1.SetLoad(10), "after the end it is harmless")
}

func FuzzPosition(f *testing.F) {
	p, err := newPositions()
	require.NoError(f, err)
	f.Add(p.AckPayload())
	f.Add([]byte{0xbf, 0xff})
	node := &memberlist.Node{Name: "n1"}
	f.Fuzz(func(t *testing.T, b []byte) {
		p.NotifyPingComplete(node, time.Millisecond, b)
		require.True(t, p.here.GetCoordinate().IsValid())
		p.distances("")
	})
}

func FuzzMeta(f *testing.F) {
	good, err := encodeMeta(Member{Region: "eu", MeshAddr: "127.0.0.1:7420", Version: "1"})
	require.NoError(f, err)
	f.Add(good)
	f.Add([]byte{0xbf, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		again, err := encodeMeta(Member{Region: m.Region, MeshAddr: m.MeshAddr, Version: m.Version, Load: m.Load})
		require.NoError(t, err)
		got, err := decodeMeta(again)
		require.NoError(t, err)
		require.Equal(t, m, got)
	})
}
