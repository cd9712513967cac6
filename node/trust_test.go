package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust/pki"
)

func (r *running) as(role api.OperatorRole, id string, scope *api.Selector) *api.Client {
	r.t.Helper()
	var resp api.CreateOperatorResponse
	require.NoError(r.t, r.operator.Do(r.t.Context(), http.MethodPost, "/v1/operators",
		api.CreateOperatorRequest{ID: id, Role: role, Scope: scope, TTL: api.Duration(time.Hour)}, &resp))
	return &api.Client{Servers: r.operator.Servers, Bearer: resp.Token, HTTP: http.DefaultClient}
}

// Each role may do what it is for, and no more; every change and every refusal
// is in the audit log.
func TestRoles(t *testing.T) {
	r := start(t)
	ctx := t.Context()
	viewer := r.as(api.OperatorViewer, "vera", nil)
	runs := r.as(api.OperatorRuns, "otto", nil)
	scoped := r.as(api.OperatorRuns, "sam", &api.Selector{Regions: []string{"eu"}})
	admin := r.as(api.OperatorAdmin, "ada", nil)
	settings := api.SettingsChange{Values: map[api.SettingKey]string{api.SettingPollIdle: "30s"}}
	rollout := func(s api.Selector) api.CreateRolloutRequest {
		return api.CreateRolloutRequest{ID: "r-" + shortID(), Kind: api.KindInstall, Artifact: "app", Version: "1.0.0", Selector: s}
	}
	for _, c := range []*api.Client{viewer, runs, scoped, admin} {
		require.NoError(t, c.Do(ctx, http.MethodGet, "/v1/nodes", nil, nil))
	}
	save := func(c *api.Client) error {
		return c.Download(ctx, "/v1/snapshot", func(body io.Reader, _ int64) error { _, err := io.Copy(io.Discard, body); return err })
	}
	require.NoError(t, save(admin))
	for who, c := range map[string]*api.Client{"viewer": viewer, "operator": runs, "scoped": scoped} {
		require.Equal(t, api.CodeDenied, api.CodeOf(save(c)), who)
		require.Equal(t, api.CodeDenied, api.CodeOf(c.Do(ctx, http.MethodPatch, "/v1/settings", settings, nil)), who)
		require.Equal(t, api.CodeDenied, api.CodeOf(c.Do(ctx, http.MethodPost, "/v1/ca/rotate", nil, nil)), who)
		require.Equal(t, api.CodeDenied, api.CodeOf(c.Do(ctx, http.MethodPost, "/v1/operators",
			api.CreateOperatorRequest{ID: "eve", Role: api.OperatorAdmin, TTL: api.Duration(time.Hour)}, nil)), who)
	}
	require.NoError(t, admin.Do(ctx, http.MethodPatch, "/v1/settings", settings, nil))
	require.Equal(t, api.CodeDenied, api.CodeOf(viewer.Do(ctx, http.MethodPost, "/v1/rollouts", rollout(api.Selector{All: true}), nil)))
	// There is no such artifact: whoever gets that far was let in.
	require.Equal(t, api.CodeNotFound, api.CodeOf(runs.Do(ctx, http.MethodPost, "/v1/rollouts", rollout(api.Selector{All: true}), nil)))
	require.Equal(t, api.CodeNotFound, api.CodeOf(scoped.Do(ctx, http.MethodPost, "/v1/rollouts", rollout(api.Selector{Regions: []string{"eu"}}), nil)))
	require.Equal(t, api.CodeDenied, api.CodeOf(scoped.Do(ctx, http.MethodPost, "/v1/rollouts", rollout(api.Selector{Regions: []string{"us"}}), nil)))

	require.NoError(t, admin.Do(ctx, http.MethodDelete, "/v1/operators/otto", nil, nil))
	require.Equal(t, api.CodeUnauthenticated, api.CodeOf(runs.Do(ctx, http.MethodGet, "/v1/nodes", nil, nil)))
	require.NoError(t, admin.Do(ctx, http.MethodDelete, "/v1/operators/"+api.Founder, nil, nil))
	require.Equal(t, api.CodeUnauthenticated, api.CodeOf(r.operator.Do(ctx, http.MethodGet, "/v1/nodes", nil, nil)))

	var log page[api.AuditRecord]
	require.Eventually(t, func() bool {
		require.NoError(t, admin.Do(ctx, http.MethodGet, "/v1/audit?limit=1000", nil, &log))
		text, err := json.Marshal(log.Items)
		require.NoError(t, err)
		return strings.Contains(string(text), "denied: PATCH /v1/settings") && strings.Contains(string(text), `"who":"ada","action":"DELETE /v1/operators/{id}"`)
	}, 10*time.Second, 20*time.Millisecond)
	require.Nil(t, api.VerifyAudit(log.Items))
}

// A browser has a session; what changes something carries its CSRF token.
func TestSession(t *testing.T) {
	r := start(t)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar}
	do := func(method, path, csrf, origin string, body any) (int, map[string]any) {
		t.Helper()
		b, err := json.Marshal(body)
		require.NoError(t, err)
		req, err := http.NewRequestWithContext(t.Context(), method, r.operator.Servers[0]+path, bytes.NewReader(b))
		require.NoError(t, err)
		if csrf != "" {
			req.Header.Set(csrfHeader, csrf)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
			req.Header.Set("Sec-Fetch-Site", "cross-site")
		}
		resp, err := browser.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		var out map[string]any
		_ = json.NewDecoder(resp.Body).Decode(&out)
		return resp.StatusCode, out
	}
	login := api.LoginRequest{Token: r.operator.Bearer}
	status, _ := do(http.MethodPost, "/v1/session", "", "https://evil.example", login)
	require.Equal(t, http.StatusForbidden, status, "another site may not log a browser in")
	status, out := do(http.MethodPost, "/v1/session", "", "", login)
	require.Equal(t, http.StatusOK, status)
	csrf := out["csrf"].(string)
	for _, c := range jar.Cookies(must(http.NewRequest(http.MethodGet, r.operator.Servers[0], nil)).URL) {
		require.NotContains(t, c.Value, r.operator.Bearer)
	}
	status, _ = do(http.MethodGet, "/v1/nodes", "", "", nil)
	require.Equal(t, http.StatusOK, status)
	change := api.SettingsChange{Values: map[api.SettingKey]string{api.SettingPollIdle: "30s"}}
	status, _ = do(http.MethodPatch, "/v1/settings", "", "", change)
	require.Equal(t, http.StatusForbidden, status)
	status, _ = do(http.MethodPatch, "/v1/settings", "guess", "", change)
	require.Equal(t, http.StatusForbidden, status)
	status, _ = do(http.MethodPatch, "/v1/settings", csrf, "", change)
	require.Equal(t, http.StatusOK, status)
	status, out = do(http.MethodGet, "/v1/session", "", "", nil)
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, csrf, out["csrf"])
	status, _ = do(http.MethodDelete, "/v1/session", csrf, "", nil)
	require.Equal(t, http.StatusOK, status)
	status, _ = do(http.MethodGet, "/v1/nodes", "", "", nil)
	require.Equal(t, http.StatusUnauthorized, status)

	for range guessBurst + 1 {
		status, _ = do(http.MethodPost, "/v1/session", "", "", api.LoginRequest{Token: "guess"})
	}
	require.Equal(t, http.StatusTooManyRequests, status, "nobody guesses for long")
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// An agent that was put out is refused at the next handshake and on connections
// that it has.
func TestRevokedAgent(t *testing.T) {
	r := start(t)
	creds, err := r.enrol("a1", r.token(agentToken))
	require.NoError(t, err)
	client := r.meshClient(creds.NodeClientTLS(pki.ALPNHTTP))
	poll := func(c *api.Client) error {
		return c.Do(t.Context(), http.MethodPost, "/v1/agents/a1/poll", api.PollRequest{}, &api.PollResponse{})
	}
	require.NoError(t, poll(client))
	require.NoError(t, r.operator.Do(t.Context(), http.MethodPost, "/v1/agents/a1/revoke", api.RevokeRequest{}, nil))
	require.Error(t, poll(client), "on a connection that was open")
	err = poll(r.meshClient(creds.NodeClientTLS(pki.ALPNHTTP)))
	require.ErrorContains(t, err, "certificate", "in a new handshake")
	csr, err := creds.CSR()
	require.NoError(t, err)
	err = r.stranger().Do(t.Context(), http.MethodPost, "/v1/enrol/renew", api.RenewRequest{AgentID: "a1", CSR: csr}, nil)
	require.Equal(t, api.CodeDenied, api.CodeOf(err))
}

// The CA rolls over once node and agent have confirmed each stage; the agent
// polls all the while, and a machine that was off gets a certificate again.
func TestRollCA(t *testing.T) {
	r := start(t)
	ctx := t.Context()
	require.NoError(t, r.operator.Do(ctx, http.MethodPatch, "/v1/settings",
		api.SettingsChange{Values: map[api.SettingKey]string{api.SettingCertificateLife: "1h"}}, nil))
	creds, err := r.enrol("a1", r.token(agentToken))
	require.NoError(t, err)
	old := creds.Issuer()
	var seen api.TrustSeen
	poll := func(ctx context.Context) {
		var resp api.PollResponse
		if infos, err := pki.Bundle(creds.Authorities()); err == nil && infos[0].ID != creds.Issuer() {
			seen.CSR, err = creds.CSR()
			require.NoError(t, err)
		}
		err := r.meshClient(creds.NodeClientTLS(pki.ALPNHTTP)).Do(ctx, http.MethodPost, "/v1/agents/a1/poll", api.PollRequest{Trust: seen}, &resp)
		require.NoError(t, err, "no poll is refused")
		if news := resp.Trust; news != nil {
			require.NoError(t, creds.Renew(news.Certificate, news.Authorities))
			if news.Authorities != nil {
				seen.Authorities = news.AuthoritiesVersion
			}
		}
		seen.CSR = nil
	}
	poll(ctx)
	require.NoError(t, r.operator.Do(ctx, http.MethodPost, "/v1/ca/rotate", nil, nil))
	require.Equal(t, api.CodeConflict, api.CodeOf(r.operator.Do(ctx, http.MethodPost, "/v1/ca/rotate", nil, nil)))
	var status api.CAStatus
	require.Eventually(t, func() bool {
		poll(ctx)
		require.NoError(t, r.operator.Do(ctx, http.MethodGet, "/v1/ca", nil, &status))
		return status.Stage == api.CASteady
	}, 30*time.Second, 50*time.Millisecond)
	require.Len(t, status.Authorities, 1)
	require.NotEqual(t, old, status.Authorities[0].ID)
	require.Equal(t, status.Authorities[0].ID, creds.Issuer())
	poll(ctx)

	csr, err := creds.CSR()
	require.NoError(t, err)
	var renewed api.RenewResponse
	require.NoError(t, r.stranger().Do(ctx, http.MethodPost, "/v1/enrol/renew", api.RenewRequest{AgentID: "a1", CSR: csr}, &renewed))
	require.NoError(t, creds.Renew(renewed.Certificate, renewed.Authorities))
}

// A small upload stands in the audit log, and may be any bytes: the entry must
// be one that every node can apply.
func TestAuditOfBinaryUpload(t *testing.T) {
	r := start(t)
	payload := []byte{0xff, 0xfe, 0x00, 0xc3}
	sum := sha256.Sum256(payload)
	require.NoError(t, r.operator.Upload(t.Context(), "/v1/uploads/"+hex.EncodeToString(sum[:]), bytes.NewReader(payload), int64(len(payload)), nil))
	require.NoError(t, r.operator.Do(t.Context(), http.MethodPatch, "/v1/settings", map[string]any{"values": map[string]string{"debug": "true"}}, nil), "the state machine goes on")
}
