package node

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"redflag/api"
)

// operation documents a route of the operators' API. What goes in and out are
// values of the types that the handler reads and answers.
type operation struct {
	summary string
	in, out any
	query   []string // names of parameters
	media   string   // of an answer that is not JSON
	public  bool     // needs no token
	etag    bool     // answers with an ETag, and takes If-Match on a change
	once    bool     // takes an Idempotency-Key
}

var paging = []string{"limit", "after"}

// operations documents every route of apiRoutes; a test holds them together.
var operations = map[string]operation{
	"GET /v1/openapi.json":                       {summary: "This document", out: map[string]any{}, public: true},
	"GET /v1/health":                             {summary: "Whether this node can serve, for load balancers; with a token, why", out: api.PublicHealth{}, public: true},
	"GET /v1/cluster/health":                     {summary: "What every node says of itself", out: []api.Health{}},
	"GET /v1/logs":                               {summary: "Log lines of all nodes and agents in order of time", out: logPage{}, query: append(paging, "correlation", "agent", "node", "since", "until", "grep", "level")},
	"GET /metrics":                               {summary: "Metrics in Prometheus' format", media: "text/plain"},
	"GET /v1/metrics/updates":                    {summary: "How commands ended, by time", out: api.UpdateMetrics{}, query: []string{"from", "to", "step", "by"}},
	"GET /v1/nodes":                              {summary: "The nodes", out: []api.Node{}},
	"GET /v1/regions":                            {summary: "The regions and who coordinates each", out: []api.Region{}},
	"DELETE /v1/nodes/{id}":                      {summary: "Remove a node for good", query: []string{"stolen"}},
	"GET /v1/agents":                             {summary: "A page of agents", out: page[api.Agent]{}, query: append(paging, "select")},
	"GET /v1/agents/{id}":                        {summary: "One agent", out: api.Agent{}},
	"POST /v1/agents/{id}/revoke":                {summary: "Put an agent out"},
	"GET /v1/agent-counts":                       {summary: "How many agents a selector picks", out: api.AgentSummary{}, query: []string{"select"}},
	"GET /v1/agent-readiness":                    {summary: "How many agents are in which condition, by region", out: []api.ReadinessCounts{}, query: []string{"select"}},
	"GET /v1/agent-updates":                      {summary: "What is outdated on how many machines: artifacts and packages", out: api.Outdated{}, query: []string{"select"}},
	"PATCH /v1/agents/{id}/labels":               {summary: "Change an agent's labels", in: api.LabelRequest{}, out: api.Agent{}},
	"GET /v1/pool":                               {summary: "The agent pool of a region, the best first", out: api.Pool{}, query: []string{"region"}},
	"GET /v1/pool/tasks":                         {summary: "A page of the tasks of the pool, newest first", out: page[api.PoolTask]{}, query: paging},
	"POST /v1/pool/tasks":                        {summary: "Give a task to an agent of the pool; its id makes a repeat harmless", in: api.PoolTaskRequest{}, out: api.PoolTask{}},
	"GET /v1/swarm/{hash}/data":                  {summary: "A range of a payload", media: "application/octet-stream"},
	"GET /v1/rollouts/{id}/swarm":                {summary: "Who has what of a rollout's payload, and who gives to whom", out: api.Swarm{}},
	"GET /v1/payloads/{sha256}":                  {summary: "A whole payload, for a bundle", media: "application/octet-stream"},
	"GET /v1/artifacts":                          {summary: "A page of the published artifacts", out: page[api.Artifact]{}, query: paging},
	"GET /v1/artifacts/{name}/{version}/torrent": {summary: "A .torrent file for standard BitTorrent clients", media: "application/x-bittorrent", query: []string{"tracker"}},
	"POST /v1/artifacts":                         {summary: "Publish an upload with its signed metadata", in: api.PublishRequest{}, out: api.Artifact{}},
	"PUT /v1/uploads/{sha256}":                   {summary: "Upload a payload", out: api.Upload{}},
	"GET /v1/rollouts":                           {summary: "A page of rollouts, newest first", out: page[api.Rollout]{}, query: paging},
	"POST /v1/rollouts":                          {summary: "Create a rollout", in: api.CreateRolloutRequest{}, out: api.Rollout{}, once: true},
	"GET /v1/rollouts/{id}":                      {summary: "One rollout", out: api.Rollout{}},
	"POST /v1/rollouts/{id}/cancel":              {summary: "Abort a rollout", out: api.Rollout{}},
	"POST /v1/rollouts/{id}/pause":               {summary: "Hand out no more commands of a rollout", in: api.ChangeRolloutRequest{}, out: api.Rollout{}},
	"POST /v1/rollouts/{id}/resume":              {summary: "Go on with a rollout", in: api.ChangeRolloutRequest{}, out: api.Rollout{}},
	"POST /v1/rollouts/{id}/rollback":            {summary: "Send everybody back to the version before", in: api.RollbackRequest{}, out: api.Rollout{}},
	"GET /v1/commands":                           {summary: "A page of commands", out: page[api.Command]{}, query: append(paging, "rollout", "agent", "artifact", "correlation", "state", "class", "since", "until")},
	"GET /v1/commands/{id}":                      {summary: "One command with its timeline", out: api.CommandDetail{}},
	"POST /v1/commands/{id}/cancel":              {summary: "Cancel one command", out: api.Command{}},
	"POST /v1/commands/{id}/retry":               {summary: "Repeat a command that failed", in: api.RetryRequest{}, out: api.Rollout{}},
	"GET /v1/settings":                           {summary: "The settings with their schema", out: settingsView{}, query: []string{"agent", "node"}, etag: true},
	"PATCH /v1/settings":                         {summary: "Change settings of a layer", in: api.SettingsChange{}, out: settingsView{}, etag: true},
	"GET /v1/settings/explain":                   {summary: "Which layer decides what", out: []api.SettingExplained{}, query: []string{"agent", "node", "key"}},
	"GET /v1/settings/history":                   {summary: "A page of who changed what when", out: page[api.SettingsRecord]{}, query: paging},
	"POST /v1/settings/history/{change}/undo":    {summary: "Take a change back", out: api.SettingsRecord{}},
	"GET /v1/tokens":                             {summary: "A page of registration tokens, without their secrets", out: page[api.Token]{}, query: paging},
	"POST /v1/tokens":                            {summary: "Create a registration token", in: api.CreateTokenRequest{}, out: api.CreateTokenResponse{}, once: true},
	"DELETE /v1/tokens/{id}":                     {summary: "Revoke a registration token"},
	"GET /v1/tuf/{file}":                         {summary: "A file of the signed metadata", out: map[string]any{}},
	"GET /v1/trust":                              {summary: "Which metadata is in force", out: api.TrustStatus{}},
	"PUT /v1/trust":                              {summary: "Put newly signed metadata in force", in: api.TrustUpdate{}},
	"POST /v1/trust/online-key":                  {summary: "Draw the next online key", out: map[string]any{}},
	"GET /v1/ca":                                 {summary: "The cluster's authorities", out: api.CAStatus{}},
	"POST /v1/ca/rotate":                         {summary: "Begin to replace the cluster's CA", out: api.CAStatus{}},
	"POST /v1/ca/advance":                        {summary: "Go on with it before everybody has confirmed", in: api.CAAdvance{}, out: api.CAStatus{}},
	"GET /v1/operators":                          {summary: "The operators", out: []api.Operator{}},
	"POST /v1/operators":                         {summary: "Create an operator", in: api.CreateOperatorRequest{}, out: api.CreateOperatorResponse{}},
	"DELETE /v1/operators/{id}":                  {summary: "Revoke an operator's token"},
	"GET /v1/operators/self":                     {summary: "Who the caller is", out: api.Operator{}},
	"GET /v1/audit":                              {summary: "A page of the audit log; newest=true turns it round", out: page[api.AuditRecord]{}, query: append([]string{"newest"}, paging...)},
	"GET /v1/snapshot":                           {summary: "The whole state, for a backup", media: "application/octet-stream"},
	"POST /v1/session":                           {summary: "Log a browser in", in: api.LoginRequest{}, out: map[string]any{}, public: true},
	"GET /v1/session":                            {summary: "Who is logged in", out: map[string]any{}},
	"DELETE /v1/session":                         {summary: "Log out"},
}

// openapi answers the document.
func (n *Node) openapi(*http.Request) (any, error) {
	b, err := openapiDocument()
	return rawAnswer{contentType: "application/json", body: b}, err
}

var openapiDocument = sync.OnceValues(func() ([]byte, error) {
	d := newSchemas()
	paths := map[string]map[string]any{}
	for pattern, op := range operations {
		method, path, _ := strings.Cut(pattern, " ")
		if paths[path] == nil {
			paths[path] = map[string]any{}
		}
		paths[path][strings.ToLower(method)] = d.operation(method, path, op)
	}
	return json.MarshalIndent(map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title": "RedFlag", "version": "1",
			"description": "The operators' API of a RedFlag cluster: the same on every node. Errors are problem details (RFC 9457).",
		},
		"paths": paths,
		"components": map[string]any{
			"schemas":         d.named,
			"securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}},
		},
		"security": []any{map[string]any{"token": []any{}}},
	}, "", " ")
})

var pathParameter = regexp.MustCompile(`\{([a-z0-9]+)\}`)

func (d *schemas) operation(method, path string, op operation) map[string]any {
	parameters := []any{}
	parameter := func(in, name string, required bool) {
		parameters = append(parameters, map[string]any{"in": in, "name": name, "required": required, "schema": map[string]any{"type": "string"}})
	}
	for _, m := range pathParameter.FindAllStringSubmatch(path, -1) {
		parameter("path", m[1], true)
	}
	for _, q := range op.query {
		parameter("query", q, false)
	}
	answer := map[string]any{"description": "done"}
	switch {
	case op.media != "":
		answer["content"] = map[string]any{op.media: map[string]any{}}
	case op.out != nil:
		answer["content"] = content("application/json", d.of(op.out))
	}
	if op.etag {
		answer["headers"] = map[string]any{"ETag": map[string]any{"schema": map[string]any{"type": "string"}}}
		if method != http.MethodGet {
			parameter("header", "If-Match", false)
		}
	}
	if op.once {
		parameter("header", headerIdempotency, false)
	}
	out := map[string]any{
		"summary": op.summary, "parameters": parameters,
		"responses": map[string]any{
			"200":     answer,
			"default": map[string]any{"description": "a problem", "content": content("application/problem+json", d.of(api.Problem{}))},
		},
	}
	if op.in != nil {
		out["requestBody"] = map[string]any{"required": true, "content": content("application/json", d.of(op.in))}
	}
	if op.public {
		out["security"] = []any{}
	}
	return out
}

func content(media string, schema any) map[string]any {
	return map[string]any{media: map[string]any{"schema": schema}}
}
