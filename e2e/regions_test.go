//go:build linux

package e2e

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"redflag/api"
	"redflag/bench/row"
	"redflag/netlab"
)

const (
	// wanRate is the cable of a region, each way.
	wanRate = api.Rate(20_000_000)
	// framing is what a payload byte takes on a wire of full segments.
	framing = 1514.0 / 1448
	// acked is what comes back for a byte sent: one acknowledgement for two
	// full segments.
	acked = 66.0 / (2 * 1514)
)

// wideMesh is a mesh of three regions, each behind a WAN cable of its own.
type wideMesh struct {
	*mesh
	cables map[string]*netlab.Switch // by region
	hosts  map[string]*netlab.Host   // of the nodes by region, of the agents by id
	nodes  map[string]*proc          // by region
	agents map[string][]string       // ids by region
	procs  map[string]*proc          // of the agents, by id
}

// newWideMesh starts a node and some agents in each region. Those that small
// names have a small disk of their own, of so many bytes.
func newWideMesh(t *testing.T, agentsPerRegion int, small map[string]int) *wideMesh {
	t.Helper()
	if testing.Short() {
		t.Skip("runs many processes in network namespaces")
	}
	lab, err := netlab.New()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { require.NoError(t, lab.Close()) })
	m := &wideMesh{
		mesh: newMesh(t), cables: map[string]*netlab.Switch{}, hosts: map[string]*netlab.Host{},
		nodes: map[string]*proc{}, agents: map[string][]string{}, procs: map[string]*proc{},
	}
	for id, size := range small {
		m.smallDisk(id, size)
	}
	wan, err := lab.Switch(nil, netlab.Link{})
	require.NoError(t, err)
	lan := netlab.Link{Up: 200_000_000, Down: 200_000_000}
	regions := []string{"eu", "us", "ap"}
	for i, region := range regions {
		m.cables[region], err = lab.Switch(wan, netlab.Link{Up: wanRate, Down: wanRate})
		require.NoError(t, err)
		host, err := m.cables[region].Host(lan)
		require.NoError(t, err)
		m.host, m.hosts[region] = host, host
		args := []string{"--mesh-listen", host.IP + ":7000"}
		if i == 0 {
			m.operator = host
		} else {
			args = append(args, "--join", m.first.runtime.Mesh, "--token", m.run("token", "create", "--kind", "node"))
		}
		m.nodes[region] = m.node(fmt.Sprintf("n%d", i+1), region, args...)
		if i == 0 {
			m.foundBy(m.nodes[region])
		}
	}
	token := m.run("token", "create", "--seats", fmt.Sprint(len(regions)*agentsPerRegion))
	for _, region := range regions {
		for i := range agentsPerRegion {
			host, err := m.cables[region].Host(lan)
			require.NoError(t, err)
			id := fmt.Sprintf("%s-agent-%d", region, i+1)
			m.host, m.hosts[id] = host, host
			m.agents[region] = append(m.agents[region], id)
			m.procs[id] = m.start(id, "agent", "--id", id, "--region", region, "--data-dir", m.path(id),
				"--node", m.nodes[region].runtime.Mesh, "--swarm-listen", host.IP+":7001", "--token", token)
		}
	}
	m.eventually("all agents poll", func() bool {
		var agents []struct{ Presence *struct{} }
		m.runJSON(&agents, "agents")
		polling := 0
		for _, a := range agents {
			if a.Presence != nil {
				polling++
			}
		}
		return polling == len(regions)*agentsPerRegion
	})
	return m
}

// smallDisk makes the data directory of a process a file system of its own.
func (m *mesh) smallDisk(id string, size int) {
	m.t.Helper()
	require.NoError(m.t, os.MkdirAll(m.path(id), 0o700))
	require.NoError(m.t, unix.Mount("tmpfs", m.path(id), "tmpfs", 0, fmt.Sprintf("size=%d", size)))
	m.t.Cleanup(func() { require.NoError(m.t, unix.Unmount(m.path(id), unix.MNT_DETACH)) })
}

// traffic is what has crossed each region's WAN cable so far, in bytes.
type traffic struct{ in, out map[string]int64 }

func (m *wideMesh) traffic() traffic {
	m.t.Helper()
	got := traffic{map[string]int64{}, map[string]int64{}}
	for region, cable := range m.cables {
		in, out, err := cable.Counters()
		require.NoError(m.t, err)
		got.in[region], got.out[region] = in, out
	}
	return got
}

func (m *wideMesh) requireInstalled(want []byte) {
	m.t.Helper()
	for _, agents := range m.agents {
		for _, id := range agents {
			require.True(m.t, bytes.Equal([]byte(m.installed(id)), want), "every agent has the published bytes")
		}
	}
}

// TestOneCopyCrossesTheWAN publishes in one region of three, and looks at what
// the cables of the others carry; then again, with a node killed halfway, and
// with one killed as soon as it has the whole, which comes back or does not.
func TestOneCopyCrossesTheWAN(t *testing.T) {
	const agentsPerRegion = 6
	m := newWideMesh(t, agentsPerRegion, nil)
	// The nodes' own talk is counted too: it must not be that of a busy second.
	m.run("settings", "set", "poll.idle=2s", "poll.pending=2s", "poll.downloading=2s", "poll.installing=2s",
		"publish.deltas=0", "publish.zstd_level=0") // random bytes do not shrink
	const size = 20 << 20
	bring := func(version string, meanwhile func(before traffic, published <-chan struct{}), steered func()) map[string]float64 {
		payload := make([]byte, size)
		_, _ = rand.Read(payload)
		before, began := m.traffic(), time.Now()
		// The nodes fetch from the moment the payload is published.
		published := make(chan struct{})
		go func() {
			defer close(published)
			m.publish(version, payload)
		}()
		meanwhile(before, published)
		<-published
		var r rollout
		m.runJSON(&r, "rollout", "create", "app", "--version", version, "--to", "all")
		steered()
		m.eventually("rollout "+r.ID+" ends", func() bool {
			m.runJSON(&r, "rollout", "show", r.ID)
			return r.State == "done"
		})
		require.Equal(t, 3*agentsPerRegion, r.Counts["succeeded"], "%+v", r.Counts)
		m.requireInstalled(payload)
		after, copies := m.traffic(), map[string]float64{}
		for region := range m.nodes {
			wire := float64(after.in[region]-before.in[region]) / size
			given := float64(after.out[region]-before.out[region]) / size
			copies[region] = (wire - acked*given) / framing
			t.Logf("version %s: region %s took %.3f payloads over its WAN, %.3f with frames, in %.1f s",
				version, region, copies[region], wire, time.Since(began).Seconds())
		}
		return copies
	}

	nothing := func() {}
	copies := bring("1.0.0", func(traffic, <-chan struct{}) {}, nothing)
	require.Less(t, copies["eu"], 0.1, "the payload was there")
	require.LessOrEqual(t, copies["us"], 1.05)
	require.LessOrEqual(t, copies["ap"], 1.05)
	require.NoError(t, row.Add("copies into the region with the most", max(copies["us"], copies["ap"]), "", "≤ 1.05"))

	copies = bring("2.0.0", func(before traffic, _ <-chan struct{}) {
		m.eventually("a good part of the payload is in the region", func() bool {
			return m.traffic().in["us"]-before.in["us"] > size/4
		})
		m.nodes["us"].kill()
		require.Less(t, m.traffic().in["us"]-before.in["us"], int64(size), "it is killed before it has the whole")
		time.Sleep(2 * time.Second) // how long a machine takes to start
		m.nodes["us"].start()
	}, nothing)
	require.LessOrEqual(t, copies["us"], 1.3, "a node that comes back goes on where it was")
	require.NoError(t, row.Add("copies, its node killed while it fetches", copies["us"], "", "≤ 1.3"))
	require.LessOrEqual(t, copies["ap"], 1.1, "only what was under way from the killed node comes twice")

	// The payload is in the region when its node is killed, and comes back with
	// it. Until then the agents find nobody but nodes of other regions.
	var killed time.Time
	killWhenWhole := func(_ traffic, published <-chan struct{}) {
		<-published // every region has it
		killed = time.Now()
		m.nodes["us"].kill()
	}
	most := 1.3
	copies = bring("3.0.0", killWhenWhole, func() {
		time.Sleep(10 * time.Second) // the agents look for it elsewhere
		if time.Since(killed) > 20*time.Second {
			most = 2.3 // on a slow machine they have waited for it long enough, and one crosses
		}
		m.nodes["us"].start()
	})
	require.LessOrEqual(t, copies["us"], most, "no agent fetches for itself while the region waits for its node")
	require.NoError(t, row.Add("copies, its node killed when it has the whole", copies["us"], "", "≤ 1.3"))

	copies = bring("4.0.0", killWhenWhole, nothing)
	require.LessOrEqual(t, copies["us"], 2.3, "the copy that is lost with its node is fetched once again, by one agent")
	require.NoError(t, row.Add("copies, its node lost when it has the whole", copies["us"], "", "≤ 2.3"))
}
