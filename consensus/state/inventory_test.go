package state

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// TestInventoryIsKeptWithinBounds keeps the newest scan of a machine, whatever
// the machine says, and only of a scan that succeeded.
func TestInventoryIsKeptWithinBounds(t *testing.T) {
	r := fleet(t)
	scan := CreateRollout{ID: "s1", Kind: api.KindScan, Selector: api.Selector{Agents: []string{"a1"}}}
	r.must(scan, lease("a1", "s1:a1"))
	_, ok := r.Inventory("a1")
	require.False(t, ok)

	huge := &api.Inventory{OS: api.OSFacts{ID: "debian", Kernel: strings.Repeat("k", 9999)}, Pending: 1000, Security: 1}
	for i := range 1000 {
		huge.Updates = append(huge.Updates, api.PackageUpdate{Name: fmt.Sprintf("p%d", i), Candidate: "2", Security: i == 999})
	}
	running := says("i1", "s1:a1", api.StateRunning)
	running.Inventory = huge
	r.must(report("a1", running))
	_, ok = r.Inventory("a1")
	require.False(t, ok, "the scan has not ended")

	done := says("i2", "s1:a1", api.StateSucceeded)
	done.Inventory = huge
	r.must(report("a1", done))
	inv, ok := r.Inventory("a1")
	require.True(t, ok)
	require.Len(t, inv.Updates, api.MaxUpdates)
	require.Equal(t, "p999", inv.Updates[0].Name, "security comes first")
	require.Less(t, len(inv.OS.Kernel), 200)
	require.Equal(t, 1000, inv.Pending)
	seen := 0
	r.EachInventory(func(id string, _ *api.Inventory) { seen++; require.Equal(t, "a1", id) })
	require.Equal(t, 1, seen)
}

// TestPackagesOfTheSystemNeedNoArtifact lets only names of packages through.
func TestPackagesOfTheSystemNeedNoArtifact(t *testing.T) {
	r := fleet(t)
	update := CreateRollout{ID: "u1", Kind: api.KindUpdatePackage, Artifact: "openssl", Version: "1:3.0.15-1~deb12u1", Selector: api.Selector{All: true}}
	r.must(update)
	for id, name := range map[string]string{"u2": "", "u3": "-o=x", "u4": "a b"} {
		update.ID, update.Artifact = id, name
		r.refuses(api.CodeInvalid, update)
	}
}
