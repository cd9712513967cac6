package node

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
)

const (
	// maxAuditDetail is how much of a request stands in the audit log, in bytes.
	maxAuditDetail = 512
	// maxAuditText bounds the other texts, which callers choose as well.
	maxAuditText = 300
	// maxAuditQueue bounds the events that wait to be replicated: agents cause
	// them, and must not be able to fill a node's memory.
	maxAuditQueue = 1000
)

// audited records who asks for a change before it is made: what cannot be
// recorded is not done. A refusal is recorded as well.
func (n *Node) audited(who string, r *http.Request, h handler) (any, error) {
	rec := api.AuditRecord{
		Who: who, Action: cut(r.Pattern, maxAuditText), Target: cut(r.URL.Path, maxAuditText), Detail: requestDetail(r),
		From: r.RemoteAddr, Node: n.cfg.ID, CorrelationID: api.Correlation(r.Context()),
	}
	if err := n.audit(r.Context(), rec); err != nil {
		return nil, err
	}
	out, err := h(r)
	if err != nil {
		rec.Detail = cut("refused: "+err.Error(), maxAuditDetail)
		n.auditQueue.put(rec)
	}
	return out, err
}

// requestDetail is the beginning of a small body, or the size of a large one.
// No request that an operator makes has a secret in it.
func requestDetail(r *http.Request) string {
	if r.ContentLength <= 0 {
		return ""
	}
	if r.ContentLength > 8*maxAuditDetail {
		return fmt.Sprintf("%d bytes", r.ContentLength)
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, r.ContentLength))
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(b), failed{err}))
	return cut(string(b), maxAuditDetail)
}

// failed goes on with the error that reading ahead met.
type failed struct{ err error }

func (f failed) Read([]byte) (int, error) {
	if f.err == nil {
		return 0, io.EOF
	}
	return 0, f.err
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return string(bytes.ToValidUTF8([]byte(s[:limit]), nil)) + "…"
}

func (n *Node) audit(ctx context.Context, records ...api.AuditRecord) error {
	_, err := n.propose(ctx, state.TypeAudit, state.Audit{Records: records})
	return err
}

// auditQueue holds events that nobody waits for.
type auditQueue struct {
	mu      sync.Mutex
	waiting []api.AuditRecord
	dropped int
}

func (q *auditQueue) put(r api.AuditRecord) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) >= maxAuditQueue {
		q.dropped++
		return
	}
	q.waiting = append(q.waiting, r)
}

func (q *auditQueue) take() (records []api.AuditRecord, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := min(len(q.waiting), 100)
	records, q.waiting = q.waiting[:k:k], q.waiting[k:]
	dropped, q.dropped = q.dropped, 0
	return records, dropped
}

// auditLater records something that happened by itself.
func (n *Node) auditLater(ctx context.Context, who, action, target, detail, from string) {
	n.auditQueue.put(api.AuditRecord{
		Who: who, Action: cut(action, maxAuditText), Target: cut(target, maxAuditText), Detail: cut(detail, maxAuditDetail),
		From: from, Node: n.cfg.ID, CorrelationID: api.Correlation(ctx),
	})
}

// writeAudit replicates the queue. Events that find no leader wait for one.
func (n *Node) writeAudit(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(confirmEvery):
		}
		records, dropped := n.auditQueue.take()
		if dropped > 0 {
			records = append(records, api.AuditRecord{Who: "node " + n.cfg.ID, Action: "audit events dropped", Detail: strconv.Itoa(dropped), Node: n.cfg.ID})
		}
		if len(records) == 0 {
			continue
		}
		if err := n.audit(ctx, records...); err != nil && ctx.Err() == nil {
			n.log.Warn("audit events wait", telemetry.KeyError, err)
			for _, r := range records {
				n.auditQueue.put(r)
			}
		}
	}
}

func (n *Node) listAudit(r *http.Request) (any, error) {
	limit, err := pageLimit(r)
	if err != nil {
		return nil, err
	}
	after := uint64(0)
	if s := r.URL.Query().Get("after"); s != "" {
		if after, err = strconv.ParseUint(s, 10, 64); err != nil {
			return nil, api.Errorf(api.CodeInvalid, "after=%q is no sequence number", s)
		}
	}
	return newPage(n.state().AuditLog(after, limit), limit, func(r api.AuditRecord) string { return strconv.FormatUint(r.Seq, 10) }), nil
}
