// Package otlptest is a small OpenTelemetry collector for tests: it takes
// OTLP/HTTP requests and keeps what they hold. It must not be reached by the
// binary.
package otlptest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"sync"

	collogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	coltraces "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Line is a log record that came.
type Line struct {
	Service, Source, Text, Severity, Trace string
	Attributes                             map[string]string
}

// Receiver takes what is exported to it. It is safe for concurrent use.
type Receiver struct {
	mu      sync.Mutex
	headers http.Header
	answer  func(path string) int
	lines   []Line
	spans   []*tracepb.Span
	metrics map[string]*metricspb.Metric
}

// New returns a receiver that takes everything.
func New() *Receiver { return &Receiver{metrics: map[string]*metricspb.Metric{}} }

// Answer has the receiver answer a path with what f returns, unless that is 200.
func (r *Receiver) Answer(f func(path string) int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = f
}

// ServeHTTP implements http.Handler.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers = req.Header.Clone()
	if r.answer != nil {
		if status := r.answer(req.URL.Path); status != http.StatusOK {
			w.WriteHeader(status)
			return
		}
	}
	z, err := gzip.NewReader(req.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	b, err := io.ReadAll(z)
	if err != nil || req.Header.Get("Content-Type") != "application/x-protobuf" || !r.take(req.URL.Path, b) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func (r *Receiver) take(path string, b []byte) bool {
	switch path {
	case "/v1/logs":
		var m collogs.ExportLogsServiceRequest
		if proto.Unmarshal(b, &m) != nil {
			return false
		}
		r.takeLogs(&m)
	case "/v1/traces":
		var m coltraces.ExportTraceServiceRequest
		if proto.Unmarshal(b, &m) != nil {
			return false
		}
		for _, res := range m.GetResourceSpans() {
			for _, s := range res.GetScopeSpans() {
				r.spans = append(r.spans, s.GetSpans()...)
			}
		}
	case "/v1/metrics":
		var m colmetrics.ExportMetricsServiceRequest
		if proto.Unmarshal(b, &m) != nil {
			return false
		}
		for _, res := range m.GetResourceMetrics() {
			for _, s := range res.GetScopeMetrics() {
				for _, metric := range s.GetMetrics() {
					r.metrics[metric.GetName()] = metric
				}
			}
		}
	default:
		return false
	}
	return true
}

func (r *Receiver) takeLogs(m *collogs.ExportLogsServiceRequest) {
	for _, res := range m.GetResourceLogs() {
		from := attributes(res.GetResource().GetAttributes())
		for _, s := range res.GetScopeLogs() {
			for _, l := range s.GetLogRecords() {
				r.lines = append(r.lines, Line{
					Service: from["service.name"], Source: from["service.instance.id"], Text: l.GetBody().GetStringValue(),
					Severity: l.GetSeverityText(), Trace: hex.EncodeToString(l.GetTraceId()), Attributes: attributes(l.GetAttributes()),
				})
			}
		}
	}
}

func attributes(all []*commonpb.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range all {
		out[a.GetKey()] = a.GetValue().GetStringValue()
	}
	return out
}

// Headers returns those of the last request.
func (r *Receiver) Headers() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.headers.Clone()
}

// Lines returns the lines so far that keep picks.
func (r *Receiver) Lines(keep func(Line) bool) (out []Line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lines {
		if keep(l) {
			out = append(out, l)
		}
	}
	return out
}

// Spans returns the spans of a trace by name.
func (r *Receiver) Spans(trace string) map[string]*tracepb.Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[string]*tracepb.Span{}
	for _, s := range r.spans {
		if hex.EncodeToString(s.GetTraceId()) == trace {
			out[s.GetName()] = s
		}
	}
	return out
}

// Metric returns a metric as it came last, nil for none.
func (r *Receiver) Metric(name string) *metricspb.Metric {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.metrics[name]
}
