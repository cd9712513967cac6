package node

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func (r *running) auditLog() []api.AuditRecord {
	r.t.Helper()
	records := r.node.state().AuditLog(0, maxPage)
	require.Nil(r.t, api.VerifyAudit(records))
	return records
}

// Who sends the body of a change in pieces is in the log with what it said.
func TestAuditLooksIntoEveryBody(t *testing.T) {
	r := start(t)
	// A reader that is no known type has no length: it is sent in chunks.
	body := io.MultiReader(strings.NewReader(`{"values":{"poll.idle"`), strings.NewReader(`:"31s"}}`))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, r.operator.Servers[0]+"/v1/settings", body)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+r.operator.Bearer)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)
	log := r.auditLog()
	last := log[len(log)-1]
	require.Equal(t, []string{api.Founder, "PATCH /v1/settings"}, []string{last.Who, last.Action})
	require.Contains(t, last.Detail, `"31s"`)
}

// Strangers and agents cannot push out of the log what operators did.
func TestAuditIsNotFlooded(t *testing.T) {
	var e eventRates
	now := time.Now()
	allowed := 0
	for range 10_000 {
		if e.allow("agent a1", now) {
			allowed++
		}
	}
	require.Equal(t, eventBurst, allowed, "one agent")
	for i := range 10_000 {
		if e.allow(fmt.Sprint("agent ", i+2), now) {
			allowed++
		}
	}
	require.Equal(t, eventsBurst, allowed, "a fleet of them")
	require.True(t, e.allow("agent a1", now.Add(time.Minute)), "it is heard again later")

	r := start(t)
	r.node.auditQueue.drop()
	require.True(t, eventually(func() bool {
		log := r.auditLog()
		return len(log) > 0 && log[len(log)-1].Action == "audit events dropped" && log[len(log)-1].Detail == "1"
	}), "what is not recorded is counted")
}

// A wrong token is in the log, and the last admin cannot lock everybody out.
func TestAuditAndTheLastAdmin(t *testing.T) {
	r := start(t)
	wrong := &api.Client{Servers: r.operator.Servers, Bearer: "guess", HTTP: http.DefaultClient}
	require.Equal(t, api.CodeUnauthenticated, api.CodeOf(wrong.Do(t.Context(), http.MethodGet, "/v1/nodes", nil, nil)))
	require.True(t, eventually(func() bool {
		for _, rec := range r.auditLog() {
			if rec.Who == "stranger" && rec.Action == "denied: GET /v1/nodes" {
				return true
			}
		}
		return false
	}))
	revoke := func(c *api.Client, id string) api.Code {
		return api.CodeOf(c.Do(t.Context(), http.MethodDelete, "/v1/operators/"+id, nil, nil))
	}
	require.Equal(t, api.CodeConflict, revoke(r.operator, api.Founder), "it is the only one")
	ada := r.as(api.OperatorAdmin, "ada", nil)
	require.Empty(t, revoke(ada, api.Founder))
	require.Equal(t, api.CodeConflict, revoke(ada, "ada"))
	require.Empty(t, revoke(ada, api.Founder), "once more is fine")
}

// The newest records first, page by page.
func TestAuditTurnedRound(t *testing.T) {
	r := start(t)
	for range 3 {
		r.set(map[api.SettingKey]string{api.SettingPollIdle: "31s"})
	}
	r.node.flushAudit(t.Context())
	all := r.auditLog()
	var seqs []uint64
	for after := ""; len(seqs) < len(all); {
		var p page[api.AuditRecord]
		require.NoError(t, r.operator.Do(t.Context(), http.MethodGet, "/v1/audit?newest=true&limit=2&after="+after, nil, &p))
		require.NotEmpty(t, p.Items)
		for _, rec := range p.Items {
			seqs = append(seqs, rec.Seq)
		}
		after = p.Next
	}
	require.Equal(t, all[len(all)-1].Seq, seqs[0])
	require.True(t, slices.IsSortedFunc(seqs, func(a, b uint64) int { return cmp.Compare(b, a) }), seqs)
}

func TestHostOf(t *testing.T) {
	for addr, want := range map[string]string{
		"10.0.0.1:99": "10.0.0.1", "[2001:db8:1:2:3::4]:99": "2001:db8:1:2::/64", "[2001:db8:1:2::9]:1": "2001:db8:1:2::/64",
		"[::ffff:10.0.0.1]:9": "::ffff:10.0.0.1", "pipe": "pipe",
	} {
		require.Equal(t, want, hostOf(&http.Request{RemoteAddr: addr}), addr)
	}
}
