package state

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func assign(region, node string, d time.Duration, handOver bool) AssignCoordinators {
	return AssignCoordinators{Leases: []CoordinatorLease{{Region: region, Node: node, For: d, HandOver: handOver}}}
}

// twoNodes is a cluster of n1 and n2, both in eu.
func twoNodes(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	put := func(id string) PutNode {
		return PutNode{
			Node:    api.Node{ID: id, Region: "eu", MeshAddr: id + ":1", KeyID: hexDigest(id), EnrolledAt: epoch},
			TokenID: "nodes", TokenSecretHash: digest("nodes"),
		}
	}
	r.must(token("nodes", api.TokenNode, 2, nil), put("n1"), put("n2"))
	return r
}

func TestCoordinatorLease(t *testing.T) {
	r := twoNodes(t)
	r.must(assign("eu", "n1", 10*time.Second, false))
	first := r.now
	c, ok := r.Coordinator("eu")
	require.True(t, ok)
	require.Equal(t, api.Coordinator{Region: "eu", Node: "n1", Since: first, Until: first.Add(10 * time.Second), Changes: 1}, c)

	r.refuses(api.CodeConflict, assign("eu", "n2", 10*time.Second, false))
	r.must(assign("eu", "n1", 10*time.Second, false))
	c, _ = r.Coordinator("eu")
	require.Equal(t, first, c.Since, "a renewal changes no hands")
	require.Equal(t, r.now.Add(10*time.Second), c.Until)

	r.now = c.Until.Add(-2 * time.Second)
	r.refuses(api.CodeConflict, assign("eu", "n2", 10*time.Second, false))
	r.must(assign("eu", "n2", 10*time.Second, false)) // at the end of the lease
	c, _ = r.Coordinator("eu")
	require.Equal(t, "n2", c.Node)
	require.Equal(t, uint64(2), c.Changes)

	r.must(assign("eu", "n1", 10*time.Second, true))
	c, _ = r.Coordinator("eu")
	require.Equal(t, "n1", c.Node, "who runs hands over at once")
}

func TestCoordinatorRefusals(t *testing.T) {
	r := twoNodes(t)
	r.refuses(api.CodeNotFound, assign("eu", "n3", time.Second, false))
	r.refuses(api.CodeInvalid, assign("e u", "n1", time.Second, false))
	r.refuses(api.CodeInvalid, assign("eu", "n1", 0, false))
	r.refuses(api.CodeInvalid, AssignCoordinators{})

	got := r.apply(AssignCoordinators{Leases: []CoordinatorLease{
		{Region: "us", Node: "n1", For: time.Minute}, {Region: "ap", Node: "n9", For: time.Minute},
	}})
	require.Len(t, got.Errors, 2, "each record has its own answer")
	require.Nil(t, got.Errors[0])
	require.Equal(t, api.CodeNotFound, got.Errors[1].Code)
}

func TestRemovedNodeCoordinatesNothing(t *testing.T) {
	r := twoNodes(t)
	r.must(assign("eu", "n1", time.Hour, false), assign("us", "n1", time.Hour, false), assign("ap", "n2", time.Hour, false))
	r.must(RemoveNode{"n1"})
	for region, want := range map[string]bool{"eu": false, "us": false, "ap": true} {
		_, ok := r.Coordinator(region)
		require.Equal(t, want, ok, region)
	}
	r.must(assign("eu", "n2", time.Second, false)) // at once
	require.Equal(t, []string{"eu"}, r.Regions())
}

// A field can be newer than the type of its entry: a node of an older version
// would overlook it, and its state would differ.
func TestLevelOfFields(t *testing.T) {
	meta := Metadata{Version: 1, Bytes: []byte("{}")}
	for _, c := range []struct {
		body body
		want int
	}{
		{Tick{}, 1},
		{PutTrust{Root: &meta}, 1},
		{PutTrust{Root: &meta, Roles: map[string]Metadata{"app": meta}}, levelRoles},
		{PublishArtifact{}, 1},
		{PublishArtifact{Role: "app"}, levelRoles},
		{LabelAgent{}, 4},
		{AssignCoordinators{Leases: []CoordinatorLease{{}}}, 4},
	} {
		require.Equal(t, c.want, LevelOfBody(c.body), "%T", c.body)
		entry, err := EncodeEntry(c.body.entryType(), epoch, c.body)
		require.NoError(t, err)
		require.Equal(t, c.want, LevelOfEntry(entry), "%T", c.body)
		require.LessOrEqual(t, c.want, Level)
	}
}
