package node

import (
	"bytes"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust/pki"
)

func (r *running) patch(change api.SettingsChange) (view settingsView, err error) {
	err = r.operator.Do(r.t.Context(), http.MethodPatch, "/v1/settings", change, &view)
	return view, err
}

func layer(t *testing.T, s string) api.SettingsLayer {
	t.Helper()
	l, err := api.ParseSettingsLayer(s)
	require.NoError(t, err)
	return l
}

// One agent's poll brings what its layers mean, and no other's.
func TestSettingsReachWhomTheyAreFor(t *testing.T) {
	r := start(t)
	token := r.token(api.CreateTokenRequest{Kind: api.TokenAgent, Seats: 2, TTL: api.Duration(time.Hour)})
	polls := map[string]func(version uint64) *api.AgentSettings{}
	for _, id := range []string{"a1", "a2"} {
		creds, err := r.enrol(id, token)
		require.NoError(t, err)
		client := r.meshClient(creds.NodeClientTLS(pki.ALPNHTTP))
		polls[id] = func(version uint64) *api.AgentSettings {
			var resp api.PollResponse
			require.NoError(t, client.Do(t.Context(), http.MethodPost, "/v1/agents/"+id+"/poll", api.PollRequest{SettingsVersion: version}, &resp))
			return resp.Settings
		}
	}
	on := map[api.SettingKey]string{api.SettingDebug: "true"}
	view, err := r.patch(api.SettingsChange{Values: on, Layer: layer(t, "agent:a1"), For: api.Duration(2 * time.Second)})
	require.NoError(t, err)
	require.Empty(t, view.Values, "the flat view is the cluster's layer")
	require.Len(t, view.Layers, 1)
	require.True(t, polls["a1"](0).Debug)
	require.Equal(t, "true", polls["a1"](0).Values[api.SettingDebug])
	require.False(t, polls["a2"](0).Debug)
	require.Nil(t, polls["a1"](view.Version), "what the agent has it need not get again")
	require.Eventually(t, func() bool {
		now := polls["a1"](view.Version)
		return now != nil && !now.Debug
	}, 20*time.Second, 50*time.Millisecond, "debug ends by itself")

	var why []api.SettingExplained
	_, err = r.patch(api.SettingsChange{Values: map[api.SettingKey]string{api.SettingPollIdle: "7s"}, Layer: layer(t, "region:eu")})
	require.NoError(t, err)
	require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, "/v1/settings/explain?agent=a2&key=poll.idle", nil, &why))
	require.Len(t, why, 1)
	require.Equal(t, "7s", why[0].Value)
	require.Equal(t, "region:eu", why[0].Layers[0].Layer.String())
}

func TestSettingsAreRefusedWhereTheyMeanNothing(t *testing.T) {
	r := start(t)
	for _, change := range []api.SettingsChange{
		{Values: map[api.SettingKey]string{api.SettingPayloadMax: "1GiB"}, Layer: layer(t, "region:eu")},
		{Values: map[api.SettingKey]string{api.SettingNodeUpload: "1mbit"}, Layer: layer(t, "label:a=b")},
		{Values: map[api.SettingKey]string{api.SettingPollIdle: "1s"}, Layer: layer(t, "node:n1")},
		{Values: map[api.SettingKey]string{api.SettingPollIdle: "1s"}, For: -1},
	} {
		_, err := r.patch(change)
		require.Equal(t, api.CodeInvalid, api.CodeOf(err), "%v", change)
	}
	_, err := r.patch(api.SettingsChange{Values: map[api.SettingKey]string{api.SettingDebug: "true"}, Layer: layer(t, "agent:nobody")})
	require.Equal(t, api.CodeNotFound, api.CodeOf(err))
	_, err = r.patch(api.SettingsChange{Values: map[api.SettingKey]string{api.SettingDebug: "true"}, Layer: layer(t, "node:n1")})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return r.node.settings().Bool(api.SettingDebug) }, 5*time.Second, time.Millisecond)
}

// Two operators who look at the same version cannot overwrite each other.
func TestSettingsIfMatch(t *testing.T) {
	r := start(t)
	send := func(tag, value string) (int, string) {
		b, err := json.Marshal(api.SettingsChange{Values: map[api.SettingKey]string{api.SettingPollIdle: value}})
		require.NoError(t, err)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, r.operator.Servers[0]+"/v1/settings", bytes.NewReader(b))
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+r.operator.Bearer)
		if tag != "" {
			req.Header.Set("If-Match", tag)
		}
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		return resp.StatusCode, resp.Header.Get("ETag")
	}
	status, first := send("", "2s")
	require.Equal(t, http.StatusOK, status)
	status, second := send(first, "3s")
	require.Equal(t, http.StatusOK, status)
	require.NotEqual(t, first, second)
	status, _ = send(first, "4s")
	require.Equal(t, http.StatusPreconditionFailed, status)
	require.Equal(t, "3s", r.node.state().Settings().Get(api.SettingPollIdle))

	var history page[api.SettingsRecord]
	require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, "/v1/settings/history?limit=1", nil, &history))
	require.Equal(t, uint64(2), history.Items[0].Change)
	require.Equal(t, "2", history.Next)
	require.NoError(t, r.operator.Do(t.Context(), http.MethodPost, "/v1/settings/history/2/undo", nil, nil))
	require.Equal(t, "2s", r.node.state().Settings().Get(api.SettingPollIdle))
	require.Equal(t, api.CodeConflict, api.CodeOf(r.operator.Do(t.Context(), http.MethodPost, "/v1/settings/history/2/undo", nil, nil)))
}
