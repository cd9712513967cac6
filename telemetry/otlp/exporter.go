package otlp

import (
	"context"
	"crypto/x509"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	dto "github.com/prometheus/client_model/go"
	commonpb "go.opentelemetry.io/proto/slim/otlp/common/v1"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"redflag/telemetry"
)

// Signal is a kind of telemetry.
type Signal string

// The signals.
const (
	Logs    Signal = "logs"
	Metrics Signal = "metrics"
	Traces  Signal = "traces"
)

// Signals has all of them.
var Signals = []Signal{Logs, Metrics, Traces}

const (
	// maxQueued bounds what waits of each signal, in bytes; a span counts
	// spanBytes.
	maxQueued = 8 << 20
	spanBytes = 512
	// maxBatch bounds one request, in bytes before they are encoded.
	maxBatch = 512 << 10
	// gather is how long a batch waits for more.
	gather = time.Second
	// firstRetry and lastRetry bound the pause before a batch is sent again,
	// which doubles.
	firstRetry = time.Second
	lastRetry  = 30 * time.Second
	// lastCall bounds the last batch of each signal at the end.
	lastCall = 2 * time.Second
)

// Target is where to and what. The zero value exports nothing.
type Target struct {
	Endpoint string // base URL: /v1/logs and so on are added
	Signals  []Signal
	Interval time.Duration // between two rounds of metrics
}

func (t Target) wants(s Signal) bool { return t.Endpoint != "" && slices.Contains(t.Signals, s) }

// Config says what an Exporter is.
type Config struct {
	// Target is asked again and again, so that it can change.
	Target func() Target
	// Headers go with each request. They hold credentials.
	Headers http.Header
	// CAs vouch for the collector; nil for those of the operating system.
	CAs *x509.CertPool
	// Service and Instance say who exports, and Attributes what else is known of it.
	Service, Instance string
	Attributes        map[string]string
	Metrics           func() ([]*dto.MetricFamily, error)
	Logger            hclog.Logger
}

// Exporter hands telemetry on. It is safe for concurrent use.
type Exporter struct {
	cfg     Config
	http    *http.Client
	started time.Time
	target  atomic.Pointer[Target]
	lines   queue[line]
	spans   queue[Span]
	counts  map[Signal]*counts
}

// counts is what became of a signal: lines, spans, or metric points.
type counts struct {
	exported, dropped atomic.Uint64
	failing           atomic.Bool
}

// New returns an exporter that hands nothing on until Run.
func New(cfg Config) *Exporter {
	e := &Exporter{cfg: cfg, http: newClient(cfg.CAs), started: time.Now(), counts: map[Signal]*counts{}}
	for _, s := range Signals {
		e.counts[s] = &counts{}
	}
	e.lines.added, e.spans.added = make(chan struct{}, 1), make(chan struct{}, 1)
	e.target.Store(&Target{})
	return e
}

// Exported counts what the collector took of a signal: lines, spans or points.
func (e *Exporter) Exported(s Signal) uint64 { return e.counts[s].exported.Load() }

// Dropped counts what it did not get: the queue was full, or it refused them.
func (e *Exporter) Dropped(s Signal) uint64 { return e.counts[s].dropped.Load() }

// Traces reports whether spans are wanted now.
func (e *Exporter) Traces() bool { return e.target.Load().wants(Traces) }

// Lines takes lines of a log that source wrote, each a JSON object.
func (e *Exporter) Lines(service, source string, lines [][]byte) {
	if !e.target.Load().wants(Logs) {
		return
	}
	for _, l := range lines {
		if !e.lines.add(line{service, source, slices.Clone(l), time.Now()}, len(l)) {
			e.counts[Logs].dropped.Add(1)
		}
	}
}

// Span takes a span that has ended.
func (e *Exporter) Span(s Span) {
	if e.Traces() && !e.spans.add(s, spanBytes) {
		e.counts[Traces].dropped.Add(1)
	}
}

// Run exports until ctx ends, and then what is left once more.
func (e *Exporter) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return e.follow(ctx) })
	g.Go(func() error { drain(ctx, e, Logs, &e.lines, e.encodeLines); return nil })
	g.Go(func() error { drain(ctx, e, Traces, &e.spans, e.encodeSpans); return nil })
	g.Go(func() error { e.sendMetrics(ctx); return nil })
	return g.Wait()
}

// follow takes the target over as it changes.
func (e *Exporter) follow(ctx context.Context) error {
	for {
		t := e.cfg.Target()
		e.target.Store(&t)
		if !wait(ctx, 200*time.Millisecond) {
			return nil
		}
	}
}

// drain sends a queue batch by batch. A batch that the collector cannot take
// now is sent again until it does, while the queue fills.
func drain[T any](ctx context.Context, e *Exporter, s Signal, q *queue[T], encode func([]T) proto.Message) {
	for {
		select {
		case <-ctx.Done():
		case <-q.added:
			wait(ctx, gather)
		}
		for batch := q.take(maxBatch); len(batch) > 0; batch = q.take(maxBatch) {
			e.deliver(ctx, s, encode(batch), len(batch))
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// deliver sends one request, again and again where that can help. After the end
// of ctx it tries once.
func (e *Exporter) deliver(ctx context.Context, s Signal, m proto.Message, items int) {
	ending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastCall, cancel) })
	defer stop()
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		t := *e.target.Load()
		if !t.wants(s) {
			return // turned off meanwhile: nobody misses it
		}
		last := ctx.Err() != nil
		refused, err := e.post(ending, t, s, m)
		if err == nil {
			e.counts[s].exported.Add(uint64(items - min(items, refused)))
			e.counts[s].dropped.Add(uint64(min(items, refused)))
			e.tell(s, nil)
			return
		}
		e.tell(s, err)
		if last || !err.again {
			e.counts[s].dropped.Add(uint64(items))
			return
		}
		wait(ctx, max(err.after, jitter(pause)))
	}
}

// tell logs when exporting begins to fail and when it works again: a line each
// time would be one more to export.
func (e *Exporter) tell(s Signal, err *sendError) {
	was := e.counts[s].failing.Swap(err != nil)
	switch {
	case err != nil && !was:
		e.cfg.Logger.Warn("export to the collector fails", "signal", string(s), telemetry.KeyError, err)
	case err == nil && was:
		e.cfg.Logger.Info("export to the collector works again", "signal", string(s), "dropped", e.Dropped(s))
	}
}

// resource describes who a line, a span or a point is from.
func (e *Exporter) resource(service, instance string) []*commonpb.KeyValue {
	out := []*commonpb.KeyValue{text("service.name", service), text("service.instance.id", instance)}
	if instance == e.cfg.Instance && service == e.cfg.Service {
		for k, v := range e.cfg.Attributes {
			out = append(out, text(k, v))
		}
	}
	return out
}

// queue holds what waits, up to maxQueued bytes.
type queue[T any] struct {
	mu    sync.Mutex
	items []queued[T]
	bytes int
	added chan struct{}
}

type queued[T any] struct {
	item  T
	bytes int
}

// add reports whether there was room.
func (q *queue[T]) add(item T, bytes int) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes+bytes > maxQueued {
		return false
	}
	q.items, q.bytes = append(q.items, queued[T]{item, bytes}), q.bytes+bytes
	select {
	case q.added <- struct{}{}:
	default:
	}
	return true
}

// take removes the oldest items, up to so many bytes and at least one.
func (q *queue[T]) take(limit int) (out []T) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	for _, i := range q.items {
		if len(out) > 0 && size+i.bytes > limit {
			break
		}
		out, size = append(out, i.item), size+i.bytes
	}
	q.items, q.bytes = slices.Delete(q.items, 0, len(out)), q.bytes-size
	return out
}

// wait reports whether ctx outlived d.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
