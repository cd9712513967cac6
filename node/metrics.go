package node

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"redflag/api"
	"redflag/consensus/state"
)

// Bounds of what metrics tell apart. What comes beyond is "other": nothing
// grows with the number of agents, nor for ever with that of releases.
const (
	metricArtifacts = 20 // the newest releases
	metricRegions   = 50
)

// metrics is what this node counts. docs/metrics.md says what each one means.
type metrics struct {
	registry *prometheus.Registry

	updates        *prometheus.CounterVec
	updateDuration *prometheus.HistogramVec
	updateBytes    *prometheus.CounterVec
	requests       *prometheus.CounterVec
	requestTime    prometheus.Histogram

	// outcomes wait here until they are counted: Raft must not wait.
	outcomes chan []state.Outcome

	mu      sync.Mutex
	regions map[string]bool // told apart so far
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(), outcomes: make(chan []state.Outcome, 4096), regions: map[string]bool{},
		updates: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "redflag_updates_total",
			Help: "Commands that ended while this node led, by artifact and version, region, result and class of error.",
		}, []string{"artifact", "region", "result", "class"}),
		updateDuration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "redflag_update_duration_seconds",
			Help:    "Time from the first lease of a command to its end, by result, of those that ended while this node led.",
			Buckets: []float64{1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600},
		}, []string{"result"}),
		updateBytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "redflag_update_bytes_total",
			Help: "Payload bytes that agents got, by source: peer and node of their own region, wan for any other, of commands that ended while this node led.",
		}, []string{"source"}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "redflag_http_requests_total",
			Help: "Requests that this node answered, by route and status.",
		}, []string{"route", "code"}),
		requestTime: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "redflag_http_request_duration_seconds",
			Help:    "Time that this node took to answer a request.",
			Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
	for _, source := range []string{sourcePeer, sourceNode, sourceWAN} {
		m.updateBytes.WithLabelValues(source)
	}
	m.registry.MustRegister(
		m.updates, m.updateDuration, m.updateBytes, m.requests, m.requestTime,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// The sources of payload bytes.
const (
	sourcePeer = "peer"
	sourceNode = "node"
	sourceWAN  = "wan"
)

// ended takes what a change has ended. Raft calls it: when the counting is
// behind, outcomes are left out rather than held up.
func (m *metrics) ended(outcomes []state.Outcome) {
	select {
	case m.outcomes <- outcomes:
	default:
	}
}

// countOutcomes counts until ctx ends.
func (n *Node) countOutcomes(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case outcomes := <-n.metrics.outcomes:
			newest := n.newestArtifacts()
			for i := range outcomes {
				n.metrics.count(&outcomes[i], newest)
			}
		}
	}
}

func (m *metrics) count(o *state.Outcome, newest map[string]bool) {
	name := o.Artifact
	if o.Version != "" {
		name += " " + o.Version
	}
	if o.Artifact == "" {
		name = string(o.Kind) // a scan is about none
	} else if !newest[o.Artifact+" "+o.Version] && !newest[o.Artifact] {
		name = api.MetricOther
	}
	m.updates.WithLabelValues(name, m.region(o.Region), string(o.State), string(o.Class)).Inc()
	if o.Took > 0 {
		m.updateDuration.WithLabelValues(string(o.State)).Observe(o.Took.Seconds())
	}
	// What crossed regions is a part of both others; most of it is from nodes.
	wan := o.Transfer.FromOtherRegions
	nodes := max(0, o.Transfer.FromNodes-wan)
	peers := max(0, o.Transfer.FromPeers+o.Transfer.FromNodes-wan-nodes)
	m.updateBytes.WithLabelValues(sourcePeer).Add(float64(peers))
	m.updateBytes.WithLabelValues(sourceNode).Add(float64(nodes))
	m.updateBytes.WithLabelValues(sourceWAN).Add(float64(wan))
}

// region returns the label for a region: agents name their own, so there may
// be any number.
func (m *metrics) region(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.regions[name] && len(m.regions) >= metricRegions {
		return api.MetricOther
	}
	m.regions[name] = true
	return name
}

// newestArtifacts returns the "name version" of the newest releases, and the
// names alone, for commands that name no version. What is no longer among them
// leaves the page.
func (n *Node) newestArtifacts() map[string]bool {
	all := n.state().Artifacts()
	slices.SortFunc(all, func(a, b api.Artifact) int { return b.PublishedAt.Compare(a.PublishedAt) })
	newest := map[string]bool{}
	for _, a := range all[:min(len(all), metricArtifacts)] {
		newest[a.Name+" "+a.Version], newest[a.Name] = true, true
	}
	for _, a := range all[min(len(all), metricArtifacts):] {
		n.metrics.updates.DeletePartialMatch(prometheus.Labels{"artifact": a.Name + " " + a.Version})
	}
	return newest
}

// observe counts an answer. Only routes that exist are told apart.
func (m *metrics) observe(pattern string, status int, took time.Duration) {
	if pattern == "" {
		pattern = api.MetricOther
	}
	m.requests.WithLabelValues(pattern, strconv.Itoa(status)).Inc()
	m.requestTime.Observe(took.Seconds())
}

// showMetrics is what Prometheus scrapes, with an operator's token.
func (n *Node) showMetrics(r *http.Request) (any, error) {
	families, err := n.metrics.registry.Gather()
	if err != nil {
		return nil, err
	}
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultAcceptedFormats()...)
	var page bytes.Buffer
	enc := expfmt.NewEncoder(&page, format)
	for _, f := range families {
		if err := enc.Encode(f); err != nil {
			return nil, err
		}
	}
	return rawAnswer{contentType: string(format), body: page.Bytes()}, nil
}
