package node

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"redflag/api"
	"redflag/regions/gossip"
	"redflag/telemetry"
	"redflag/telemetry/logstore"
)

// logsTimeout bounds how long the other nodes may search.
const logsTimeout = 10 * time.Second

// findLogs searches the logs of all nodes and merges what they find by time.
func (n *Node) findLogs(r *http.Request) (any, error) {
	q, err := logQuery(r)
	if err != nil {
		return nil, err
	}
	own, err := n.logs.store.Find(r.Context(), q)
	if err != nil {
		return nil, err
	}
	answers, silent := []api.LogAnswer{own}, []string{}
	var mu sync.Mutex
	answered := map[string]bool{n.cfg.ID: true}
	n.eachOtherWithin(r.Context(), logsTimeout, func(ctx context.Context, m gossip.Member) {
		var a api.LogAnswer
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodPost, "/v1/mesh/logs", q, &a); err != nil {
			telemetry.For(ctx, n.log).Debug("logs not answered", "other", m.ID, telemetry.KeyError, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		answers, answered[m.ID] = append(answers, a), true
	})
	for _, m := range n.state().Nodes() {
		if !answered[m.ID] {
			silent = append(silent, m.ID)
		}
	}
	lines, more := mergeLogs(answers, q.Limit)
	page := logPage{Items: lines, Silent: silent}
	if more && len(lines) > 0 {
		page.Next = cursorOf(lines[len(lines)-1])
	}
	return page, nil
}

// logPage is a page of lines, and who did not answer.
type logPage struct {
	Items  []api.LogLine `json:"items"`
	Next   string        `json:"next,omitempty"`
	Silent []string      `json:"silent,omitempty"`
}

// mergeLogs puts pages together. Behind the end of a page that was cut there
// may be lines that belong before those of another node, so all end there.
func mergeLogs(answers []api.LogAnswer, limit int) (lines []api.LogLine, more bool) {
	lines = []api.LogLine{}
	var end *api.LogLine
	for _, a := range answers {
		lines = append(lines, a.Lines...)
		if a.More && len(a.Lines) > 0 {
			last := a.Lines[len(a.Lines)-1]
			if end == nil || last.Compare(*end) < 0 {
				end = &last
			}
		}
	}
	slices.SortFunc(lines, api.LogLine.Compare)
	lines = slices.CompactFunc(lines, func(a, b api.LogLine) bool { return a.Compare(b) == 0 })
	if end != nil {
		k, _ := slices.BinarySearchFunc(lines, *end, api.LogLine.Compare)
		lines, more = lines[:k+1], true
	}
	if len(lines) > limit {
		lines, more = lines[:limit], true
	}
	return lines, more
}

// meshLogs answers another node.
func (n *Node) meshLogs(r *http.Request) (any, error) {
	var q api.LogQuery
	if err := body(r, &q); err != nil {
		return nil, err
	}
	return n.logs.store.Find(r.Context(), q)
}

func logQuery(r *http.Request) (api.LogQuery, error) {
	v := r.URL.Query()
	q := api.LogQuery{Correlation: v.Get("correlation"), Source: v.Get("agent"), Grep: v.Get("grep"), Level: v.Get("level"), Limit: maxPage}
	if node := v.Get("node"); node != "" {
		q.Source = node
	}
	if q.Correlation != "" && !api.ValidCorrelationID(q.Correlation) {
		return q, api.Errorf(api.CodeInvalid, "%.64q is no correlation id", q.Correlation).WithHint("it has 32 hex digits: redflag rollout show prints it")
	}
	if q.Level != "" && !logstore.IsLevel(q.Level) {
		return q, api.Errorf(api.CodeInvalid, "there is no level %.32q", q.Level).WithHint("use debug, info, warn or error")
	}
	if len(q.Grep) > 256 {
		return q, api.Errorf(api.CodeInvalid, "the text to look for is too long").WithHint("use 256 bytes at most")
	}
	var err error
	if s := v.Get("limit"); s != "" {
		if q.Limit, err = strconv.Atoi(s); err != nil || q.Limit < 1 || q.Limit > logstore.MaxPage {
			return q, api.Errorf(api.CodeInvalid, "limit %.20q is out of range", s).WithHint("use 1 to %d", logstore.MaxPage)
		}
	}
	for name, into := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if *into, err = moment(v.Get(name)); err != nil {
			return q, err
		}
	}
	if s := v.Get("after"); s != "" {
		b, err := base64.RawURLEncoding.DecodeString(s)
		q.After = &api.LogLine{}
		if err != nil || json.Unmarshal(b, q.After) != nil {
			return q, api.Errorf(api.CodeInvalid, "the cursor is not one of this list")
		}
	}
	return q, nil
}

// moment reads a time, or how long ago it was.
func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, api.Errorf(api.CodeInvalid, "%.40q is neither a time nor a duration", s).WithHint("write 1h or 2026-01-31T08:00:00Z")
	}
	return t, nil
}

func cursorOf(l api.LogLine) string {
	l.Line = json.RawMessage("null")
	b, _ := json.Marshal(l) // of plain fields
	return base64.RawURLEncoding.EncodeToString(b)
}
