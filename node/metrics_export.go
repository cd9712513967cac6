package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"redflag/telemetry/otlp"
)

// exportCollector tells what became of the export to a collector.
type exportCollector struct{ e *otlp.Exporter }

var (
	descExported = desc("otlp_exported_total", "What the collector took: log lines, metric points, spans.", "signal")
	descDropped  = desc("otlp_dropped_total", "What the collector did not get: the queue was full, or it refused them.", "signal")
)

// Describe implements prometheus.Collector.
func (exportCollector) Describe(out chan<- *prometheus.Desc) {
	out <- descExported
	out <- descDropped
}

// Collect implements prometheus.Collector.
func (c exportCollector) Collect(out chan<- prometheus.Metric) {
	g := gauges{out}
	for _, s := range otlp.Signals {
		g.total(descExported, float64(c.e.Exported(s)), string(s))
		g.total(descDropped, float64(c.e.Dropped(s)), string(s))
	}
}
