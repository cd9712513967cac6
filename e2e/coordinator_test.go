package e2e

import (
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"
)

// region is what redflag regions prints of one.
type region struct {
	Name        string `json:"name"`
	Policy      string `json:"policy"`
	Acting      string `json:"acting"`
	StandIn     bool   `json:"stand_in"`
	Coordinator *struct {
		Node    string `json:"node"`
		Changes int    `json:"changes"`
	} `json:"coordinator"`
}

// TestCoordinators pins a region's coordinator while everything runs, kills the
// one that has it, and at last the whole region.
func TestCoordinators(t *testing.T) {
	if testing.Short() {
		t.Skip("runs four processes")
	}
	t.Parallel()
	m := newMesh(t)
	first := m.found() // n1, in eu
	join := func(id, region string) *proc {
		return m.node(id, region, "--non-voter", "--join", first.runtime.Mesh, "--token", m.run("token", "create", "--kind", "node"))
	}
	nodes := map[string]*proc{"us1": join("us1", "us"), "us2": join("us2", "us")}
	m.agent("kiosk", "us", nodes["us1"])
	m.run("settings", "set", "region.coordinator_lease=2s")
	us := func() (r region) {
		var all []region
		m.runJSON(&all, "regions")
		for _, r := range all {
			if r.Name == "us" {
				return r
			}
		}
		return region{}
	}
	holds := func(what, node string) region {
		t.Helper()
		var r region
		m.eventually(what, func() bool {
			r = us()
			return r.Coordinator != nil && r.Coordinator.Node == node && r.Acting == node
		})
		return r
	}
	m.eventually("the region gets a coordinator", func() bool { return us().Coordinator != nil })
	changes := us().Coordinator.Changes

	m.run("settings", "set", "--region", "us", "region.coordinator=pinned:us2")
	r := holds("the pinned node takes over while all run", "us2")
	require.Equal(t, "pinned:us2", r.Policy)
	m.run("settings", "set", "--region", "us", "region.coordinator=pinned:us1")
	r = holds("and the next pinned one", "us1")
	require.Greater(t, r.Coordinator.Changes, changes)
	require.False(t, r.StandIn)
	payload := make([]byte, 2<<20)
	_, _ = rand.Read(payload)
	m.publish("1.0.0", payload)
	copies := func(id string) (across, whole bool) {
		var all []struct {
			Node     string           `json:"node"`
			Seeding  []string         `json:"seeding"`
			WANBytes map[string]int64 `json:"wan_bytes"`
		}
		m.runJSON(&all, "health")
		for _, h := range all {
			if h.Node == id {
				for _, b := range h.WANBytes {
					across = across || b > 0
				}
				return across, len(h.Seeding) > 0
			}
		}
		return false, false
	}
	m.eventually("both nodes have the payload", func() bool {
		_, one := copies("us1")
		_, two := copies("us2")
		return one && two
	})
	across, _ := copies("us1")
	require.True(t, across, "the coordinator fetches across regions")
	across, _ = copies("us2")
	require.False(t, across, "and nobody else of its region")

	nodes["us1"].kill()
	r = holds("another of the region takes over from a dead one", "us2")
	require.False(t, r.StandIn)
	nodes["us2"].kill()
	r = holds("another region stands in for one without a node", "n1")
	require.True(t, r.StandIn)
	var got rollout
	m.runJSON(&got, "rollout", "create", "app", "--version", "1.0.0", "--to", "all")
	m.eventually("an agent without a node of its own is served", func() bool {
		m.runJSON(&got, "rollout", "show", got.ID)
		return got.Counts["succeeded"] == 1
	})
	nodes["us2"].start()
	r = holds("who stands in gives the region back", "us2")
	require.False(t, r.StandIn)
}
