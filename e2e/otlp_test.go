package e2e

import (
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/telemetry/otlp/otlptest"
)

// asleep is a listener that closes what it accepts until it is up.
type asleep struct {
	net.Listener
	up atomic.Bool
}

func (l *asleep) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.up.Load() {
			return c, err
		}
		_ = c.Close()
	}
}

// TestExportToACollector has a cluster export to a collector that comes up late,
// and finds one rollout there by its correlation id: in the lines of the node
// and of the agent, and as a trace.
func TestExportToACollector(t *testing.T) {
	if testing.Short() {
		t.Skip("runs two processes")
	}
	t.Parallel()
	m := newMesh(t)
	headers := m.path("headers")
	require.NoError(t, os.WriteFile(headers, []byte("# of the collector\nX-Api-Key: s3cr3t-of-the-collector\n"), 0o600))
	first := m.foundBy(m.node("n1", "eu", "--otlp-headers", headers))
	m.agent("kiosk", "eu", first)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln := &asleep{Listener: inner}
	got := otlptest.New()
	srv := &http.Server{Handler: got, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close() })
	_, errOut, err := m.try("settings", "set", "otlp.endpoint=http://collector.example.org:4318")
	require.Error(t, err)
	require.Contains(t, errOut, "https://")
	m.run("settings", "set", "otlp.endpoint=http://"+inner.Addr().String(), "otlp.metrics_interval=1s")
	m.eventually("the node says that the collector is down", func() bool {
		return strings.Contains(m.log("n1"), "export to the collector fails")
	})
	m.publish("1.0.0", []byte("hello"))
	r := m.rollOut("--version", "1.0.0", "--to", "all")
	require.Equal(t, 1, r.Counts["succeeded"])

	ln.up.Store(true)
	lines := func(service, source string) []otlptest.Line {
		return got.Lines(func(l otlptest.Line) bool {
			return l.Service == service && l.Source == source && l.Trace == r.CorrelationID
		})
	}
	m.eventually("lines and spans from before it came up, and metrics", func() bool {
		return len(lines("redflag-node", "n1")) > 0 && len(lines("redflag-agent", "kiosk")) > 0 &&
			len(got.Spans(r.CorrelationID)) >= 4 && got.Metric("redflag_updates_total") != nil
	})
	require.Equal(t, "s3cr3t-of-the-collector", got.Headers().Get("X-Api-Key"))
	require.NotContains(t, m.log("n1"), "s3cr3t")

	spans := got.Spans(r.CorrelationID)
	for child, parent := range map[string]string{
		"raft apply CreateRollout": "POST /v1/rollouts", "command install": "raft apply CreateRollout", "wait for poll": "command install",
	} {
		require.Contains(t, spans, child)
		require.Contains(t, spans, parent)
		require.Equal(t, spans[parent].GetSpanId(), spans[child].GetParentSpanId(), "%s is a part of %s", child, parent)
	}
	require.Empty(t, spans["POST /v1/rollouts"].GetParentSpanId())
	steps := 0
	for name, s := range spans {
		if string(s.GetParentSpanId()) == string(spans["command install"].GetSpanId()) && name != "wait for poll" && name != "begin" {
			steps++
		}
	}
	require.Positive(t, steps, "what the agent did is in the trace")
	t.Logf("spans: %v", spans)
}
