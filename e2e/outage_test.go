//go:build linux

package e2e

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type lastPoll struct {
	Node string    `json:"node"`
	At   time.Time `json:"last_poll"`
}

// polls tells where and when each agent polled last.
func (m *wideMesh) polls() map[string]lastPoll {
	m.t.Helper()
	var list []struct {
		ID       string   `json:"id"`
		Presence lastPoll `json:"presence"`
	}
	m.runJSON(&list, "agents")
	out := map[string]lastPoll{}
	for _, a := range list {
		out[a.ID] = a.Presence
	}
	return out
}

func (m *wideMesh) pollAt(agents []string, node string) bool {
	m.t.Helper()
	polls := m.polls()
	for _, id := range agents {
		if polls[id].Node != node {
			return false
		}
	}
	return true
}

// TestRegionOutage cuts off the node of a region, then a whole region from the
// others, each time with a rollout under way.
func TestRegionOutage(t *testing.T) {
	m := newWideMesh(t, 3, nil)

	const interval = 12 * time.Second
	m.run("settings", "set", "poll.idle="+interval.String())
	m.eventually("all agents poll at the long interval", func() bool {
		for _, a := range m.polls() {
			if time.Since(a.At) < 2*time.Second {
				return false
			}
		}
		return true
	})
	m.publish("1.0.0", []byte("one"))
	var first rollout
	m.runJSON(&first, "rollout", "create", "app", "--version", "1.0.0", "--to", "all")
	cut := time.Now()
	require.NoError(t, m.hosts["ap"].Cut(true))
	took := map[string]time.Duration{}
	m.eventually("the agents of ap poll another region", func() bool {
		polls := m.polls()
		for _, id := range m.agents["ap"] {
			if p := polls[id]; took[id] == 0 && p.Node != "" && p.Node != "n3" {
				took[id] = p.At.Sub(cut)
			}
		}
		return len(took) == 3
	})
	for id, d := range took {
		t.Logf("%s polled another region %.2f poll intervals after the cut", id, d.Seconds()/interval.Seconds())
		require.Less(t, d, 2*interval)
	}
	// A region whose node is gone waits a while for it before it fetches from
	// another region.
	m.within(2*patience, "the rollout ends", func() bool {
		m.runJSON(&first, "rollout", "show", first.ID)
		return first.State == "done"
	})
	t.Logf("all commands of the rollout were done %.1f s after the cut", time.Since(cut).Seconds())
	require.Equal(t, 9, first.Counts["succeeded"], first.Counts)
	m.requireInstalled([]byte("one"))

	m.run("settings", "set", "poll.idle=2s")
	require.NoError(t, m.hosts["ap"].Cut(false))
	m.eventually("the agents of ap are back at their own node", func() bool { return m.pollAt(m.agents["ap"], "n3") })

	m.publish("2.0.0", []byte("two"))
	require.NoError(t, m.cables["us"].Cut(true))
	var second rollout
	m.runJSON(&second, "rollout", "create", "app", "--version", "2.0.0", "--to", "all")
	m.eventually("the other regions are done", func() bool {
		m.runJSON(&second, "rollout", "show", second.ID)
		return second.Counts["succeeded"] == 6
	})
	require.NoError(t, m.cables["us"].Cut(false))
	m.eventually("the region that was cut off catches up", func() bool {
		m.runJSON(&second, "rollout", "show", second.ID)
		return second.State == "done"
	})
	require.Equal(t, 9, second.Counts["succeeded"], second.Counts)
	m.requireInstalled([]byte("two"))
}
