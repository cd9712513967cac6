package otlp

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"time"

	collogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/slim/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"redflag/api"
	"redflag/telemetry"
)

// line is a line of a log as it was written.
type line struct {
	service, source string
	text            []byte
	seen            time.Time
}

// maxAttributes bounds what one line says in keys.
const maxAttributes = 64

var severities = map[string]logspb.SeverityNumber{
	"trace": logspb.SeverityNumber_SEVERITY_NUMBER_TRACE, "debug": logspb.SeverityNumber_SEVERITY_NUMBER_DEBUG,
	"info": logspb.SeverityNumber_SEVERITY_NUMBER_INFO, "warn": logspb.SeverityNumber_SEVERITY_NUMBER_WARN,
	"error": logspb.SeverityNumber_SEVERITY_NUMBER_ERROR,
}

func (e *Exporter) encodeLines(lines []line) proto.Message {
	type source struct{ service, name string }
	by := map[source]*logspb.ScopeLogs{}
	out := &collogs.ExportLogsServiceRequest{}
	for _, l := range lines {
		from := source{l.service, l.source}
		if by[from] == nil {
			by[from] = &logspb.ScopeLogs{Scope: scope}
			out.ResourceLogs = append(out.ResourceLogs, &logspb.ResourceLogs{
				Resource: &resourcepb.Resource{Attributes: e.resource(l.service, l.source)}, ScopeLogs: []*logspb.ScopeLogs{by[from]},
			})
		}
		by[from].LogRecords = append(by[from].LogRecords, recordOf(l))
	}
	return out
}

// recordOf reads a line. Agents write theirs, so it may be anything: what is no
// JSON object is a message as it stands.
func recordOf(l line) *logspb.LogRecord {
	r := &logspb.LogRecord{ObservedTimeUnixNano: nanos(l.seen)}
	var fields map[string]any
	if json.Unmarshal(l.text, &fields) != nil {
		r.Body = anyText(string(l.text))
		return r
	}
	take := func(key string) string {
		v, _ := fields[key].(string)
		delete(fields, key)
		return v
	}
	if at, err := time.Parse(time.RFC3339Nano, take("@timestamp")); err == nil {
		r.TimeUnixNano = nanos(at)
	}
	r.SeverityText = take("@level")
	r.SeverityNumber = severities[r.SeverityText]
	r.Body = anyText(take("@message"))
	if id, ok := fields[telemetry.KeyCorrelation].(string); ok && api.ValidCorrelationID(id) {
		r.TraceId, _ = hex.DecodeString(id)
	}
	for i, key := range slices.Sorted(maps.Keys(fields)) {
		if i == maxAttributes {
			break
		}
		r.Attributes = append(r.Attributes, &commonpb.KeyValue{Key: clean(key), Value: valueOf(fields[key])})
	}
	return r
}

// valueOf keeps what is plain, and writes everything else as JSON.
func valueOf(v any) *commonpb.AnyValue {
	switch v := v.(type) {
	case string:
		return anyText(v)
	case bool:
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_BoolValue{BoolValue: v}}
	case float64:
		if n := int64(v); float64(n) == v {
			return &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: n}}
		}
		return &commonpb.AnyValue{Value: &commonpb.AnyValue_DoubleValue{DoubleValue: v}}
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return anyText("")
		}
		return anyText(string(b))
	}
}
