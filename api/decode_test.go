package api_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestDecode(t *testing.T) {
	var req api.RenewRequest
	require.NoError(t, api.Decode(strings.NewReader(`{"agent_id":"a1"} `), &req))
	require.Equal(t, "a1", req.AgentID)
	for _, bad := range []string{"", "{", `{"agent":"a1"}`, `{} {}`, `{}x`, `[]`} {
		require.Error(t, api.Decode(strings.NewReader(bad), &req), bad)
	}
}

// strangers are the bodies that somebody may send who has proved nothing yet.
func strangers() []any {
	return []any{&api.EnrolAgentRequest{}, &api.EnrolNodeRequest{}, &api.RenewRequest{}, &api.LoginRequest{}}
}

// FuzzStrangersBody: what decodes is the same after a round trip, and checking
// it does not break.
func FuzzStrangersBody(f *testing.F) {
	for _, v := range strangers() {
		b, err := json.Marshal(v)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte(`{"agent_id":"a","region":"eu","labels":{"a":"b"},"csr":"AAAA","token_id":"t","secret":"s"}`))
	f.Add([]byte(`{"token":"rfo.a.b"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range strangers() {
			if api.Decode(bytes.NewReader(b), v) != nil {
				continue
			}
			if req, ok := v.(*api.EnrolAgentRequest); ok {
				_ = api.CheckID("agent id", req.AgentID)
				_ = api.CheckLabels(req.Labels)
			}
			once, err := json.Marshal(v)
			require.NoError(t, err)
			require.NoError(t, api.Decode(bytes.NewReader(once), v))
			twice, err := json.Marshal(v)
			require.NoError(t, err)
			require.Equal(t, string(once), string(twice))
		}
	})
}

// FuzzCorrelation: whatever the header says, the correlation id is one that may
// stand in a log and in another header.
func FuzzCorrelation(f *testing.F) {
	f.Add("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	f.Add("00-" + strings.Repeat("0", 32) + "-" + strings.Repeat("0", 16) + "-00")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		h := http.Header{}
		h.Set("Traceparent", text)
		id := api.CorrelationFromHeader(h)
		require.LessOrEqual(t, len(id), 64)
		require.Equal(t, id, strings.ToLower(strings.TrimSpace(id)))
	})
}
