package node

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus/state"
)

// The listings page by cursors that stay where they are while rows are added:
// whoever follows one sees each row that was there once, and in order.
func TestListingsPageUnderInserts(t *testing.T) {
	t.Parallel()
	r := start(t)
	token := r.token(agentToken)
	_, err := r.enrol("a1", token)
	require.NoError(t, err)
	r.set(map[api.SettingKey]string{api.SettingPoolMembers: "agent:a1"})
	publish := func(n int64) {
		meta := state.Metadata{Version: n, Bytes: []byte("{}")}
		_, err := r.node.propose(t.Context(), state.TypePublishArtifact, state.PublishArtifact{
			Artifact: api.Artifact{
				Name: fmt.Sprintf("app%d", n), Version: "1.0+x", Length: 1, SHA256: strings.Repeat("a", 64),
				InfoHash: fmt.Sprintf("%040x", n), PieceLength: 1 << 18, OriginNode: "gone",
			},
			Targets: meta, Snapshot: meta, Timestamp: meta,
		})
		require.NoError(t, err)
	}
	add := map[string]func(n int){
		"/v1/rollouts": func(n int) {
			r.do("/v1/rollouts", api.CreateRolloutRequest{ID: fmt.Sprintf("r%d", n), Kind: api.KindScan, Selector: api.Selector{All: true}}, nil)
		},
		"/v1/artifacts": func(n int) { publish(int64(n)) },
		"/v1/tokens":    func(int) { r.token(agentToken) },
		"/v1/pool/tasks": func(n int) {
			_, err := r.node.propose(t.Context(), state.TypeCreateRollout, state.CreateRollout{
				ID: api.PoolRollout(fmt.Sprintf("t%d", n), 1), Kind: api.KindScan, Selector: api.Selector{Agents: []string{"a1"}},
			})
			require.NoError(t, err)
		},
	}
	for _, path := range []string{"/v1/artifacts", "/v1/tokens", "/v1/pool/tasks", "/v1/rollouts"} {
		for n := range 5 {
			add[path](n + 1)
		}
		var all page[map[string]any]
		require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, path, nil, &all))
		require.GreaterOrEqual(t, len(all.Items), 5, path)
		require.Empty(t, all.Next, path)

		var seen []map[string]any
		query, n := url.Values{"limit": {"2"}}, 6
		for next := "-"; next != ""; n++ {
			var p page[map[string]any]
			require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, path+"?"+query.Encode(), nil, &p), path)
			require.LessOrEqual(t, len(p.Items), 2)
			seen, next = append(seen, p.Items...), p.Next
			query.Set("after", next)
			if n < 10 {
				add[path](n)
			}
		}
		key := func(m map[string]any) string { return fmt.Sprint(m["id"], m["name"], m["version"]) }
		had, times := map[string]bool{}, map[string]int{}
		for _, m := range all.Items {
			had[key(m)] = true
		}
		var order, want []string
		for _, m := range seen {
			times[key(m)]++
			if had[key(m)] {
				order = append(order, key(m))
			}
		}
		for _, m := range all.Items {
			want = append(want, key(m))
		}
		require.Equal(t, want, order, path)
		for k, c := range times {
			require.Equal(t, 1, c, "%s: %s", path, k)
		}

		listed, err := api.List[map[string]any](t.Context(), r.operator, path, url.Values{"limit": {"2"}}, 3)
		require.NoError(t, err)
		require.Len(t, listed, 3, "a caller's own size of page holds")
		if path == "/v1/tokens" {
			continue // any text is a place among ids
		}
		err = r.operator.Do(t.Context(), http.MethodGet, path+"?after=nonsense", nil, nil)
		require.Equal(t, api.CodeInvalid, api.CodeOf(err), path)
	}
}
