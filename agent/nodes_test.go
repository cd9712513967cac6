package agent

import (
	"crypto/tls"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust/pki"
)

func ids(nodes []api.NodeAddr) (all []string) {
	for _, n := range nodes {
		all = append(all, n.ID)
	}
	return all
}

func TestNodeOrder(t *testing.T) {
	now := time.Unix(0, 0)
	l := newNodeList("eu", []string{"10.0.0.1:1", "10.0.0.9:1"}, []api.NodeAddr{
		{ID: "us1", Region: "us", Addr: "10.0.0.3:1"},
		{ID: "eu2", Region: "eu", Addr: "10.0.0.2:1"},
		{ID: "eu1", Region: "eu", Addr: "10.0.0.1:1"},
	})
	l.now = func() time.Time { return now }
	require.ElementsMatch(t, []string{"eu1", "eu2"}, ids(l.order())[:2], "the own region comes first")
	require.Equal(t, []string{"10.0.0.9:1", "us1"}, ids(l.order())[2:], "a configured address that polls did not name stays")

	l.rtt.Observe("eu2", time.Millisecond)
	l.rtt.Observe("eu1", 50*time.Millisecond)
	require.Equal(t, []string{"eu2", "eu1"}, ids(l.order())[:2], "the nearer one comes first")

	eu2 := l.order()[0]
	l.failed(eu2, 0)
	require.Equal(t, []string{"eu1", "10.0.0.9:1", "us1", "eu2"}, ids(l.order()), "a node that failed is asked last")

	require.False(t, l.learn(nil), "no reply takes all nodes away")
	require.False(t, l.learn([]api.NodeAddr{{ID: "x", Addr: "no port"}}))
	require.True(t, l.learn([]api.NodeAddr{{ID: "eu3", Region: "eu", Addr: "10.0.0.4:1"}}))
	require.False(t, l.learn([]api.NodeAddr{{ID: "eu3", Region: "eu", Addr: "10.0.0.4:1", Load: 7}}), "load is no news to keep")
	require.Equal(t, []string{"eu3", "10.0.0.1:1", "10.0.0.9:1"}, ids(l.order()))
	require.True(t, l.learn([]api.NodeAddr{{ID: "eu3", Region: "eu", Addr: "10.0.0.4:1"}, eu2}))
	require.Equal(t, "eu2", l.order()[3].ID, "a node that is back has to prove itself")
}

// A node that failed is tried beside the polls and comes back to the front
// after some trials in a row that went well, no sooner.
func TestBreaker(t *testing.T) {
	now := time.Unix(0, 0)
	near := api.NodeAddr{ID: "eu1", Region: "eu", Addr: "10.0.0.1:1"}
	far := api.NodeAddr{ID: "us1", Region: "us", Addr: "10.0.0.2:1"}
	l := newNodeList("eu", nil, []api.NodeAddr{near, far})
	l.now = func() time.Time { return now }
	require.Equal(t, []string{"eu1", "us1"}, ids(l.order()))
	require.Empty(t, l.onTrial())

	l.failed(near, 0)
	l.stay(far)
	require.Empty(t, l.onTrial(), "it is left alone first")
	now = now.Add(coolBase + time.Second)
	require.Equal(t, []string{"eu1"}, ids(l.onTrial()))
	require.Equal(t, []string{"us1", "eu1"}, ids(l.order()), "polls do not try")
	l.well(near)
	require.Equal(t, []string{"us1", "eu1"}, ids(l.order()), "once may be luck")
	require.Empty(t, l.onTrial())
	now = now.Add(trialGap + time.Second)
	l.failed(near, 0)
	now = now.Add(coolLimit)
	for range trialsWanted {
		require.Equal(t, []string{"eu1"}, ids(l.onTrial()))
		l.well(near)
		now = now.Add(trialGap + time.Second)
	}
	require.Empty(t, l.onTrial())
	require.Equal(t, []string{"eu1", "us1"}, ids(l.order()))
}

// Agents of one region spread over its nodes by load, and each stays with the
// node that it has.
func TestLoadIsSpread(t *testing.T) {
	const agents = 3000
	nodes := []api.NodeAddr{{ID: "n1", Addr: "h1:1"}, {ID: "n2", Addr: "h2:1"}, {ID: "n3", Addr: "h3:1"}}
	count := map[string]int{}
	for range agents {
		l := newNodeList("", nil, nodes)
		first := l.order()[0]
		l.stay(first)
		for range 10 {
			require.Equal(t, first.ID, l.order()[0].ID)
		}
		count[first.ID]++
		for i := range nodes {
			nodes[i].Load = count[nodes[i].ID] * 90 / agents
		}
	}
	for id, n := range count {
		require.InDelta(t, agents/3, n, agents/20, id)
	}

	l := newNodeList("", nil, nodes)
	l.stay(nodes[0])
	nodes[0].Load, nodes[1].Load, nodes[2].Load = 2*fullLoad, 0, 0
	require.Eventually(t, func() bool { l.learn(nodes); return l.order()[0].ID != "n1" },
		10*time.Second, time.Microsecond, "some leave a node that is overloaded")
}

func TestBackoffIsSpreadAndBounded(t *testing.T) {
	b := backoff{base: time.Second, limit: time.Minute}
	ceiling := time.Second
	for range 100 {
		d := b.next()
		require.Positive(t, d)
		require.LessOrEqual(t, d, ceiling)
		ceiling = min(2*ceiling, time.Minute)
	}
	b.reset()
	require.LessOrEqual(t, b.next(), time.Second)
}

func TestProbeMeasuresOtherNodes(t *testing.T) {
	c := newCluster(t)
	n := c.node("n1", "eu")
	creds := c.member(pki.RoleAgent, "a1", "eu")
	m := newMesh(newNodeList("eu", nil, c.addrs()), func(string) *tls.Config { return creds.NodeClientTLS(pki.ALPNHTTP) }, hclog.NewNullLogger())
	t.Cleanup(m.close)
	m.probeOne(t.Context(), n.addr)
	require.Positive(t, m.nodes.rtt.Snapshot()["n1"])
	n.stop()
	m.probeOne(t.Context(), n.addr)
	require.NotContains(t, m.nodes.rtt.Snapshot(), "n1")
}
