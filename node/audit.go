package node

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

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
		Who: who, Action: cut(r.Pattern, maxAuditText), Target: cut(strings.TrimSuffix(r.URL.RequestURI(), "?"), maxAuditText), Detail: requestDetail(r),
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
	if r.ContentLength == 0 {
		return ""
	}
	if r.ContentLength > 8*maxAuditDetail {
		return fmt.Sprintf("%d bytes", r.ContentLength)
	}
	// A body of unknown length is looked into as well: it must not be a way to
	// stay out of the log.
	ahead := bufio.NewReaderSize(r.Body, maxAuditDetail+1)
	b, _ := ahead.Peek(maxAuditDetail + 1) // an error comes again when the handler reads
	detail := cut(string(b), maxAuditDetail)
	r.Body = struct {
		io.Reader
		io.Closer
	}{ahead, r.Body}
	return detail
}

// cut bounds a text, and makes one of what is none: a body may be any bytes,
// and an entry with a text that is not UTF-8 could not be applied.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}

// audit appends to the replicated log, and to this node's own, of which other
// machines keep a copy.
func (n *Node) audit(ctx context.Context, records ...api.AuditRecord) error {
	for _, r := range records {
		telemetry.For(ctx, n.log).Info("audit", "who", r.Who, "action", r.Action, "target", r.Target, "from", r.From, "detail", r.Detail)
	}
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

// drop counts an event that is not recorded.
func (q *auditQueue) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped++
}

func (q *auditQueue) take() (records []api.AuditRecord, dropped int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	k := min(len(q.waiting), 100)
	records, q.waiting = q.waiting[:k:k], q.waiting[k:]
	dropped, q.dropped = q.dropped, 0
	return records, dropped
}

// auditLater records something that has happened, for nobody to wait for.
func (n *Node) auditLater(r *http.Request, who, action, target, detail string) {
	n.auditQueue.put(api.AuditRecord{
		Who: cut(who, maxAuditText), Action: cut(action, maxAuditText), Target: cut(target, maxAuditText), Detail: cut(detail, maxAuditDetail),
		From: r.RemoteAddr, Node: n.cfg.ID, CorrelationID: api.Correlation(r.Context()),
	})
}

// auditEvent is auditLater for what anybody can make happen as often as they
// like. Beyond a rate it is counted only: who floods the log must not push what
// operators did out of it.
func (n *Node) auditEvent(r *http.Request, who, action, target, detail string) {
	if !n.auditEvents.allow(who, time.Now()) {
		n.auditQueue.drop()
		return
	}
	n.auditLater(r, who, action, target, detail)
}

// auditSelf records what this node does of its own accord.
func (n *Node) auditSelf(action, detail string) {
	n.auditQueue.put(api.AuditRecord{Who: "node " + n.cfg.ID, Action: action, Detail: cut(detail, maxAuditDetail), Node: n.cfg.ID})
}

// eventRates bounds the events of one source, and of all together.
type eventRates struct {
	each hosts
	once sync.Once
	all  *rate.Limiter
}

const (
	eventsPerMinute = 6 // of one source
	eventBurst      = 2 * api.MaxIncidents
	eventsPerSecond = 5 // of all
	eventsBurst     = 500
)

func (e *eventRates) allow(who string, now time.Time) bool {
	e.once.Do(func() { e.all = rate.NewLimiter(eventsPerSecond, eventsBurst) })
	return e.each.allow(who, now, eventsPerMinute, eventBurst) && e.all.AllowN(now, 1)
}

// writeAudit replicates the queue. Events that find no leader wait for one.
func (n *Node) writeAudit(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(confirmEvery):
		}
		if _, err := n.writeAuditBatch(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("audit events wait", telemetry.KeyError, err)
		}
	}
}

// flushAudit replicates what is still queued when nobody makes events any more.
func (n *Node) flushAudit(ctx context.Context) error {
	for {
		if more, err := n.writeAuditBatch(ctx); !more || err != nil {
			return err
		}
	}
}

// writeAuditBatch replicates a part of the queue, and reports whether there was
// one. What finds no leader is queued again.
func (n *Node) writeAuditBatch(ctx context.Context) (bool, error) {
	records, dropped := n.auditQueue.take()
	if dropped > 0 {
		records = append(records, api.AuditRecord{Who: "node " + n.cfg.ID, Action: "audit events dropped", Detail: strconv.Itoa(dropped), Node: n.cfg.ID})
	}
	if len(records) == 0 {
		return false, nil
	}
	err := n.audit(ctx, records...)
	if err != nil {
		for _, r := range records {
			n.auditQueue.put(r)
		}
	}
	return true, err
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
	read := n.state().AuditLog
	if r.URL.Query().Get("newest") == "true" {
		read = n.state().AuditLogBefore
	}
	return newPage(read(after, limit), limit, func(r api.AuditRecord) string { return strconv.FormatUint(r.Seq, 10) }), nil
}
