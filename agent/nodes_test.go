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
	require.Equal(t, []string{"eu1", "eu2", "10.0.0.9:1", "us1"}, ids(l.order()), "a configured address that polls did not name stays")

	l.rtt.Observe("eu2", time.Millisecond)
	require.Equal(t, "eu2", l.order()[0].ID)

	l.failed(l.order()[0], 0)
	require.Equal(t, []string{"eu1", "10.0.0.9:1", "us1", "eu2"}, ids(l.order()), "a node that failed is asked last")
	now = now.Add(coolBase)
	require.Equal(t, []string{"eu1", "eu2"}, ids(l.order())[:2], "and is asked again later")

	require.False(t, l.learn(nil), "no reply takes all nodes away")
	require.False(t, l.learn([]api.NodeAddr{{ID: "x", Addr: "no port"}}))
	require.True(t, l.learn([]api.NodeAddr{{ID: "eu3", Region: "eu", Addr: "10.0.0.4:1"}}))
	require.Equal(t, []string{"eu3", "10.0.0.1:1", "10.0.0.9:1"}, ids(l.order()))
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
	m := newMesh(newNodeList("eu", nil, c.addrs()), func() *tls.Config { return creds.NodeClientTLS(pki.ALPNHTTP) }, hclog.NewNullLogger())
	t.Cleanup(m.close)
	m.probeOne(t.Context(), n.addr)
	require.Positive(t, m.nodes.rtt.Snapshot()["n1"])
	n.stop()
	m.probeOne(t.Context(), n.addr)
	require.NotContains(t, m.nodes.rtt.Snapshot(), "n1")
}
