package otlp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	coltraces "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/slim/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"redflag/api"
)

// SpanID names a span within its trace; the zero value is none.
type SpanID [8]byte

// IDOf draws the same id from the same names, so that a node can name a span
// that another one sends, and what is sent twice is one span.
func IDOf(trace string, names ...string) (id SpanID) {
	sum := sha256.Sum256([]byte(trace + "\x00" + strings.Join(names, "\x00")))
	copy(id[:], sum[:])
	return id
}

// Span is a part of what a request set in motion.
type Span struct {
	Trace      string // a correlation id; a span without one is not sent
	ID, Parent SpanID
	Name       string
	Server     bool // it answers a request
	From, To   time.Time
	Attributes map[string]string
	Error      string // what failed, if anything did
}

type spanKey struct{}

// WithSpan returns a context in which id is what further spans are parts of.
func WithSpan(ctx context.Context, id SpanID) context.Context {
	return context.WithValue(ctx, spanKey{}, id)
}

// SpanOf returns what WithSpan put into a context.
func SpanOf(ctx context.Context) (id SpanID, ok bool) {
	id, ok = ctx.Value(spanKey{}).(SpanID)
	return id, ok
}

var scope = &commonpb.InstrumentationScope{Name: "redflag"}

func (e *Exporter) encodeSpans(spans []Span) proto.Message {
	all := &tracepb.ScopeSpans{Scope: scope}
	for _, s := range spans {
		trace, err := hex.DecodeString(s.Trace)
		if err != nil || !api.ValidCorrelationID(s.Trace) {
			continue
		}
		p := &tracepb.Span{
			TraceId: trace, SpanId: s.ID[:], Name: clean(s.Name), Kind: tracepb.Span_SPAN_KIND_INTERNAL,
			StartTimeUnixNano: nanos(s.From), EndTimeUnixNano: nanos(s.To),
		}
		if s.Parent != (SpanID{}) {
			p.ParentSpanId = s.Parent[:]
		}
		if s.Server {
			p.Kind = tracepb.Span_SPAN_KIND_SERVER
		}
		if s.Error != "" {
			p.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: clean(s.Error)}
		}
		for k, v := range s.Attributes {
			if v != "" {
				p.Attributes = append(p.Attributes, text(k, v))
			}
		}
		all.Spans = append(all.Spans, p)
	}
	return &coltraces.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: e.resource(e.cfg.Service, e.cfg.Instance)}, ScopeSpans: []*tracepb.ScopeSpans{all},
	}}}
}

func text(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: anyText(value)}
}

func anyText(s string) *commonpb.AnyValue {
	return &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: clean(s)}}
}

// clean makes what others wrote valid UTF-8: protobuf takes nothing else.
func clean(s string) string { return strings.ToValidUTF8(s, "�") }

// nanos is the time as OTLP counts it.
func nanos(t time.Time) uint64 { return uint64(max(0, t.UnixNano())) }
