package node

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"redflag/api"
)

// document is the served OpenAPI document, with nothing allowed that it does
// not name: so a test sees what it leaves out.
type document struct {
	t        *testing.T
	raw      map[string]any
	compiler *jsonschema.Compiler
}

func (r *running) document() *document {
	r.t.Helper()
	resp, err := http.Get(r.api + "/v1/openapi.json")
	require.NoError(r.t, err)
	defer resp.Body.Close()
	require.Equal(r.t, http.StatusOK, resp.StatusCode)
	raw, err := jsonschema.UnmarshalJSON(resp.Body)
	require.NoError(r.t, err)
	d := &document{t: r.t, raw: raw.(map[string]any), compiler: jsonschema.NewCompiler()}
	for _, s := range d.at("components", "schemas") {
		s.(map[string]any)["additionalProperties"] = false
	}
	require.NoError(r.t, d.compiler.AddResource("mem:///api.json", d.raw))
	return d
}

func (d *document) at(keys ...string) map[string]any {
	at := d.raw
	for _, k := range keys {
		next, ok := at[k].(map[string]any)
		require.True(d.t, ok, "the document has no %q in %v", k, keys)
		at = next
	}
	return at
}

// allows checks a body against the schema of an answer.
func (d *document) allows(method, path, status, media string, body []byte) {
	d.t.Helper()
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	d.at("paths", path, method, "responses", status, "content", media)
	schema, err := d.compiler.Compile("mem:///api.json#/paths/" + escape.Replace(path) + "/" + method + "/responses/" + status + "/content/" + escape.Replace(media) + "/schema")
	require.NoError(d.t, err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	require.NoError(d.t, err)
	require.NoError(d.t, schema.Validate(v), "%s %s answered %s", method, path, body)
}

// answer is an HTTP answer as it came.
type answer struct {
	StatusCode int
	Header     http.Header
}

// ask sends a request as an operator and returns the answer as it is.
func (r *running) ask(method, path string, in any, headers ...string) (answer, []byte) {
	r.t.Helper()
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		require.NoError(r.t, err)
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.api+path, body)
	require.NoError(r.t, err)
	req.Header.Set("Authorization", "Bearer "+r.operator.Bearer)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return answer{StatusCode: resp.StatusCode, Header: resp.Header}, b
}

// Every route is documented, and no other.
func TestEveryRouteIsDocumented(t *testing.T) {
	t.Parallel()
	r := start(t)
	routes := slices.DeleteFunc(r.node.apiRoutes().(*routeMux).patterns, func(p string) bool { return !strings.Contains(p, " ") })
	require.ElementsMatch(t, slices.Collect(maps.Keys(operations)), routes)
}

// What a node answers is what the document says, to the last field.
func TestAnswersMatchTheDocument(t *testing.T) {
	t.Parallel()
	r := busy(t)
	d := r.document()
	require.Equal(t, "3.1.0", d.raw["openapi"])
	r.token(agentToken)
	r.set(map[api.SettingKey]string{api.SettingDebug: "true"})
	for _, path := range []string{
		"/v1/cluster/health", "/v1/logs", "/v1/metrics/updates", "/v1/nodes", "/v1/agents", "/v1/agent-counts",
		"/v1/artifacts", "/v1/rollouts", "/v1/commands", "/v1/settings", "/v1/settings/explain?agent=a0", "/v1/settings/history",
		"/v1/tokens", "/v1/trust", "/v1/ca", "/v1/operators", "/v1/operators/self", "/v1/audit",
	} {
		resp, b := r.ask(http.MethodGet, path, nil)
		require.Equal(t, http.StatusOK, resp.StatusCode, "%s: %s", path, b)
		path, _, _ = strings.Cut(path, "?")
		d.allows("get", path, "200", "application/json", b)
	}
	for path, one := range map[string]string{"/v1/agents/{id}": "a0", "/v1/rollouts/{id}": "r0", "/v1/commands/{id}": "r0:a0"} {
		_, b := r.ask(http.MethodGet, strings.Replace(path, "{id}", one, 1), nil)
		d.allows("get", path, "200", "application/json", b)
	}
	resp, b := r.ask(http.MethodGet, "/v1/rollouts/none", nil)
	require.Equal(t, http.StatusNotFound, resp.StatusCode)
	require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
	d.allows("get", "/v1/rollouts/{id}", "default", "application/problem+json", b)
	var p api.Problem
	require.NoError(t, json.Unmarshal(b, &p))
	require.Equal(t, "urn:redflag:problem:not_found", p.Type)
	require.Equal(t, p.Message, p.Detail)
	require.True(t, api.ValidCorrelationID(p.CorrelationID))
}

// A create that is repeated with its Idempotency-Key creates once, also when
// the first answer was lost; another body under the same key is refused.
func TestIdempotencyKeys(t *testing.T) {
	t.Parallel()
	r := start(t)
	m := r.member("a1")
	scan := api.CreateRolloutRequest{Kind: api.KindScan, Selector: api.Selector{Agents: []string{m.id}}}
	for path, in := range map[string]any{"/v1/rollouts": scan, "/v1/tokens": agentToken} {
		first, one := r.ask(http.MethodPost, path, in, headerIdempotency, "k1")
		require.Equal(t, http.StatusOK, first.StatusCode, "%s", one)
		second, two := r.ask(http.MethodPost, path, in, headerIdempotency, "k1")
		require.Equal(t, http.StatusOK, second.StatusCode, "%s", two)
		require.JSONEq(t, string(one), string(two))
		_, other := r.ask(http.MethodPost, path, in, headerIdempotency, "k2")
		require.NotEqual(t, string(one), string(other))
	}
	changed := agentToken
	changed.TTL += api.Duration(time.Hour)
	resp, b := r.ask(http.MethodPost, "/v1/tokens", changed, headerIdempotency, "k1")
	require.Equal(t, http.StatusConflict, resp.StatusCode, "%s", b)
	require.Len(t, r.node.state().Rollouts(), 2)
	resp, _ = r.ask(http.MethodPost, "/v1/rollouts", scan, headerIdempotency, strings.Repeat("k", 256))
	require.Equal(t, http.StatusBadRequest, resp.StatusCode)
}
