package node

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/node/archive"
)

// What ends is on this node's disk soon after, with its log.
func TestEndedCommandsAreArchived(t *testing.T) {
	r := start(t)
	a := r.member("a1")
	r.order("r1", api.Plan{}, "a1")
	require.Len(t, a.poll(api.PollRequest{}).Commands, 1)
	require.Nil(t, a.sends(api.Report{
		ID: "p1", CommandID: "r1:a1", State: api.StateSucceeded, At: time.Now(),
		Log: &api.ExecutionLog{Stdout: "all is well", Steps: []api.Step{{Name: "scan", Millis: 7}}},
	}))
	var got archivePage
	require.Eventually(t, func() bool {
		var err error
		got, err = r.node.archiveHere(archiveQuery{Limit: 10})
		return err == nil && len(got.Records) == 1
	}, 30*time.Second, 50*time.Millisecond)
	require.Equal(t, "r1:a1", got.Records[0].Command.ID)
	require.Equal(t, "all is well", got.Records[0].Command.Log.Stdout)

	// While the state has it, a listing shows it once.
	var listed page[api.Command]
	require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, "/v1/commands", nil, &listed))
	require.Len(t, listed.Items, 1)
	var rest page[api.Command]
	require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, "/v1/commands?after="+listed.Next, nil, &rest))
	require.Empty(t, rest.Items)
	require.Empty(t, rest.Next)

	// What it does not know any more comes from the archive.
	old := got.Records[0]
	old.Command.ID, old.Command.RolloutID = "r0:a1", "r0"
	require.NoError(t, r.node.archive.Append([]archive.Record{old}, 1<<30))
	require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, "/v1/commands?after="+listed.Next, nil, &rest))
	require.Len(t, rest.Items, 1)
	require.True(t, rest.Items[0].Archived)
	shown := r.show("r0:a1")
	require.Equal(t, "all is well", shown.Log.Stdout)
	require.NotEmpty(t, shown.Timeline)
	_, ok := r.node.state().Command("r0:a1")
	require.False(t, ok)
}

func TestMergeArchives(t *testing.T) {
	rec := func(i uint64, id string) archive.Record {
		return archive.Record{Index: i, Command: api.Command{ID: id}}
	}
	all, bound, more := mergeArchives([]archivePage{
		{Records: []archive.Record{rec(9, "b"), rec(7, "a")}, Next: 7, More: true},
		{Records: []archive.Record{rec(9, "b"), rec(8, "c"), rec(3, "d")}},
	})
	require.Equal(t, []archive.Record{rec(9, "b"), rec(8, "c"), rec(7, "a")}, all, "what is below 7 is for the next page")
	require.Equal(t, uint64(7), bound)
	require.True(t, more)
}
