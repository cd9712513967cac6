package otlp

import (
	"context"
	"math"
	"time"

	dto "github.com/prometheus/client_model/go"
	colmetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	metricspb "go.opentelemetry.io/proto/slim/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/slim/otlp/resource/v1"
	"google.golang.org/protobuf/proto"
)

// sendMetrics sends every metric once in an interval. What cannot be sent is not
// sent later: the next round has newer values of the same sums.
func (e *Exporter) sendMetrics(ctx context.Context) {
	var last time.Time
	for wait(ctx, 200*time.Millisecond) {
		t := *e.target.Load()
		if !t.wants(Metrics) || time.Since(last) < t.Interval {
			continue
		}
		last = time.Now()
		families, err := e.cfg.Metrics()
		if err != nil {
			e.tell(Metrics, &sendError{reason: err.Error()})
			continue
		}
		m, points := e.encodeMetrics(families, last)
		refused, failed := e.post(ctx, t, Metrics, m)
		if failed != nil && ctx.Err() != nil {
			return
		}
		e.tell(Metrics, failed)
		if failed != nil {
			refused = points
		}
		e.counts[Metrics].exported.Add(uint64(points - min(points, refused)))
		e.counts[Metrics].dropped.Add(uint64(min(points, refused)))
	}
}

// encodeMetrics turns what Prometheus would scrape into OTLP, by the rules of the
// specification's "Prometheus Metric points to OTLP".
func (e *Exporter) encodeMetrics(families []*dto.MetricFamily, now time.Time) (proto.Message, int) {
	all, points := &metricspb.ScopeMetrics{Scope: scope}, 0
	for _, f := range families {
		m := &metricspb.Metric{Name: f.GetName(), Description: f.GetHelp()}
		for _, s := range f.GetMetric() {
			e.addPoint(m, f.GetType(), s, nanos(now))
			points++
		}
		if m.Data != nil {
			all.Metrics = append(all.Metrics, m)
		}
	}
	return &colmetrics.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{
		Resource: &resourcepb.Resource{Attributes: e.resource(e.cfg.Service, e.cfg.Instance)}, ScopeMetrics: []*metricspb.ScopeMetrics{all},
	}}}, points
}

const cumulative = metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE

func (e *Exporter) addPoint(m *metricspb.Metric, typ dto.MetricType, s *dto.Metric, now uint64) {
	labels := make([]*commonpb.KeyValue, 0, len(s.GetLabel()))
	for _, l := range s.GetLabel() {
		labels = append(labels, text(l.GetName(), l.GetValue()))
	}
	number := func(v float64, start uint64) *metricspb.NumberDataPoint {
		return &metricspb.NumberDataPoint{
			Attributes: labels, StartTimeUnixNano: start, TimeUnixNano: now, Value: &metricspb.NumberDataPoint_AsDouble{AsDouble: v},
		}
	}
	start := nanos(e.started)
	switch typ {
	case dto.MetricType_COUNTER:
		if m.Data == nil {
			m.Data = &metricspb.Metric_Sum{Sum: &metricspb.Sum{AggregationTemporality: cumulative, IsMonotonic: true}}
		}
		m.GetSum().DataPoints = append(m.GetSum().DataPoints, number(s.GetCounter().GetValue(), start))
	case dto.MetricType_HISTOGRAM:
		if m.Data == nil {
			m.Data = &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{AggregationTemporality: cumulative}}
		}
		p := histogram(s.GetHistogram())
		p.Attributes, p.StartTimeUnixNano, p.TimeUnixNano = labels, start, now
		m.GetHistogram().DataPoints = append(m.GetHistogram().DataPoints, p)
	case dto.MetricType_SUMMARY:
		if m.Data == nil {
			m.Data = &metricspb.Metric_Summary{Summary: &metricspb.Summary{}}
		}
		p := &metricspb.SummaryDataPoint{
			Attributes: labels, StartTimeUnixNano: start, TimeUnixNano: now,
			Count: s.GetSummary().GetSampleCount(), Sum: s.GetSummary().GetSampleSum(),
		}
		for _, q := range s.GetSummary().GetQuantile() {
			p.QuantileValues = append(p.QuantileValues, &metricspb.SummaryDataPoint_ValueAtQuantile{Quantile: q.GetQuantile(), Value: q.GetValue()})
		}
		m.GetSummary().DataPoints = append(m.GetSummary().DataPoints, p)
	default:
		if m.Data == nil {
			m.Data = &metricspb.Metric_Gauge{Gauge: &metricspb.Gauge{}}
		}
		value := s.GetGauge().GetValue()
		if s.GetGauge() == nil {
			value = s.GetUntyped().GetValue()
		}
		m.GetGauge().DataPoints = append(m.GetGauge().DataPoints, number(value, 0))
	}
}

// histogram counts each bucket by itself, where Prometheus adds them up; what is
// beyond the last bound has a bucket of its own.
func histogram(h *dto.Histogram) *metricspb.HistogramDataPoint {
	p := &metricspb.HistogramDataPoint{Count: h.GetSampleCount(), Sum: new(h.GetSampleSum())}
	below := uint64(0)
	for _, b := range h.GetBucket() {
		if math.IsInf(b.GetUpperBound(), 1) {
			break // what is beyond the last bound is added below
		}
		p.ExplicitBounds = append(p.ExplicitBounds, b.GetUpperBound())
		p.BucketCounts = append(p.BucketCounts, b.GetCumulativeCount()-below)
		below = b.GetCumulativeCount()
	}
	p.BucketCounts = append(p.BucketCounts, h.GetSampleCount()-below)
	return p
}
