package otlp

import (
	"bytes"
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"redflag/telemetry/otlp/otlptest"
)

const (
	patience = 30 * time.Second
	trace    = "0123456789abcdef0123456789abcdef"
	secret   = "Bearer s3cr3t"
)

// rig is an exporter that runs, its collector behind TLS, and its log.
type rig struct {
	*Exporter
	got *otlptest.Receiver
	log *bytes.Buffer
}

func startExporter(t *testing.T, change func(*Config, *httptest.Server)) *rig {
	t.Helper()
	r := &rig{got: otlptest.New(), log: &bytes.Buffer{}}
	srv := httptest.NewTLSServer(r.got)
	t.Cleanup(srv.Close)
	registry := prometheus.NewRegistry()
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "took_seconds", Help: "Time.", Buckets: []float64{1, 10}})
	served := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "served_total", Help: "Requests."}, []string{"code"})
	registry.MustRegister(seconds, served)
	served.WithLabelValues("200").Add(3)
	for _, v := range []float64{0.5, 5, 6, 50} {
		seconds.Observe(v)
	}
	cas := x509.NewCertPool()
	cas.AddCert(srv.Certificate())
	cfg := Config{
		Target:  func() Target { return Target{Endpoint: srv.URL, Signals: Signals, Interval: 100 * time.Millisecond} },
		Headers: http.Header{"Authorization": {secret}}, CAs: cas,
		Service: "redflag-node", Instance: "n1", Attributes: map[string]string{"redflag.region": "eu"},
		Metrics: registry.Gather, Logger: hclog.New(&hclog.LoggerOptions{Output: r.log}),
	}
	change(&cfg, srv)
	r.Exporter = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.NotContains(t, r.log.String(), "s3cr3t")
	})
	require.Eventually(t, func() bool { return r.target.Load().Endpoint != "" }, patience, time.Millisecond)
	return r
}

func (r *rig) say(text string) {
	r.Lines("redflag-agent", "kiosk", [][]byte{fmt.Appendf(nil,
		`{"@timestamp":"2026-03-01T12:00:00.000001Z","@level":"warn","@message":%q,"correlation_id":%q,"n":7,"list":[1]}`, text, trace)})
}

func (r *rig) heard(text string) []otlptest.Line {
	return r.got.Lines(func(l otlptest.Line) bool { return l.Text == text })
}

func TestExport(t *testing.T) {
	r := startExporter(t, func(*Config, *httptest.Server) {})
	r.say("hello")
	r.Lines("redflag-agent", "kiosk", [][]byte{[]byte("no JSON \xff")})
	parent, now := IDOf(trace, "parent"), time.Now()
	r.Span(Span{Trace: trace, ID: IDOf(trace, "x"), Parent: parent, Name: "fetch", From: now, To: now.Add(time.Second), Error: "disk: full"})
	r.Span(Span{Trace: "nonsense", Name: "lost"})
	require.Eventually(t, func() bool {
		return len(r.heard("hello")) == 1 && len(r.got.Spans(trace)) == 1 && r.got.Metric("took_seconds") != nil
	}, patience, 10*time.Millisecond)
	line := r.heard("hello")[0]
	require.Equal(t, otlptest.Line{
		Service: "redflag-agent", Source: "kiosk", Text: "hello", Severity: "warn", Trace: trace,
		Attributes: map[string]string{"correlation_id": trace, "n": "", "list": "[1]"},
	}, line)
	require.Len(t, r.heard("no JSON �"), 1)
	span := r.got.Spans(trace)["fetch"]
	require.Equal(t, parent[:], span.GetParentSpanId())
	require.Equal(t, "disk: full", span.GetStatus().GetMessage())
	require.Equal(t, uint64(time.Second), span.GetEndTimeUnixNano()-span.GetStartTimeUnixNano())
	require.Equal(t, secret, r.got.Headers().Get("Authorization"))

	h := r.got.Metric("took_seconds").GetHistogram().GetDataPoints()[0]
	require.Equal(t, []float64{1, 10}, h.GetExplicitBounds())
	require.Equal(t, []uint64{1, 2, 1}, h.GetBucketCounts(), "each bucket by itself, and what is beyond the last")
	sum := r.got.Metric("served_total").GetSum()
	require.True(t, sum.GetIsMonotonic())
	require.InDelta(t, 3, sum.GetDataPoints()[0].GetAsDouble(), 0)
	require.Positive(t, r.Exported(Metrics))
	require.Zero(t, r.Dropped(Logs))
}

func TestCollectorDownAndBack(t *testing.T) {
	r := startExporter(t, func(*Config, *httptest.Server) {})
	down := func(string) int { return http.StatusServiceUnavailable }
	r.got.Answer(down)
	r.say("while it is down")
	require.Eventually(t, func() bool { return r.counts[Logs].failing.Load() }, patience, 10*time.Millisecond)
	require.Zero(t, r.Dropped(Logs), "it is sent again")
	r.got.Answer(nil)
	require.Eventually(t, func() bool { return len(r.heard("while it is down")) == 1 }, patience, 10*time.Millisecond)
	require.Eventually(t, func() bool { return !r.counts[Logs].failing.Load() }, patience, 10*time.Millisecond)
	require.Equal(t, uint64(1), r.Exported(Logs))

	r.got.Answer(func(string) int { return http.StatusBadRequest })
	r.say("not wanted")
	require.Eventually(t, func() bool { return r.Dropped(Logs) == 1 }, patience, 10*time.Millisecond, "what is refused for good is not sent again")
}

// The queue is bounded: while nobody takes anything the caller is never held up,
// and what did not fit is counted.
func TestFullQueueDrops(t *testing.T) {
	r := startExporter(t, func(*Config, *httptest.Server) {})
	r.got.Answer(func(string) int { return http.StatusServiceUnavailable })
	long := strings.Repeat("x", 64<<10)
	for range 2 * maxQueued / len(long) {
		r.say(long)
	}
	require.Positive(t, r.Dropped(Logs))
	require.LessOrEqual(t, r.lines.bytes, maxQueued)
}

func TestStrangersCertificateIsRefused(t *testing.T) {
	r := startExporter(t, func(c *Config, _ *httptest.Server) { c.CAs = x509.NewCertPool() })
	r.say("hello")
	require.Eventually(t, func() bool { return r.counts[Logs].failing.Load() }, patience, 10*time.Millisecond)
	require.Empty(t, r.heard("hello"))
}

func TestNothingIsExportedWithoutAnEndpoint(t *testing.T) {
	e := New(Config{Target: func() Target { return Target{} }})
	e.Lines("redflag-node", "n1", [][]byte{[]byte("{}")})
	e.Span(Span{Trace: trace})
	require.Empty(t, e.lines.items)
	require.Empty(t, e.spans.items)
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte(`{"@timestamp":"x","@level":1,"a":{"b":[1,2]}}`))
	f.Add([]byte("\xff"))
	e := New(Config{})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, err := encode(e.encodeLines([]line{{"redflag-agent", "a1", b, time.Unix(1, 0)}}))
		require.NoError(t, err, "whatever an agent writes can be sent")
	})
}
