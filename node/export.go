package node

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/textproto"
	"os"
	"runtime"
	"strings"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry/otlp"
)

const (
	serviceNode  = "redflag-node"
	serviceAgent = "redflag-agent"
	// maxHeadersFile bounds --otlp-headers, in bytes.
	maxHeadersFile = 64 << 10
)

// openExport reads the credentials of the collector, if there are any.
func (n *Node) openExport() error {
	cfg := otlp.Config{
		Target: n.exportTarget, Metrics: n.metrics.registry.Gather, Logger: n.log.Named("otlp"),
		Service: serviceNode, Instance: n.cfg.ID,
		Attributes: map[string]string{"service.version": n.cfg.Version, "redflag.region": n.cfg.Region},
	}
	var err error
	if n.cfg.OTLPHeaders != "" {
		if cfg.Headers, err = readHeaders(n.cfg.OTLPHeaders); err != nil {
			return err
		}
	}
	if n.cfg.OTLPCA != "" {
		pem, err := os.ReadFile(n.cfg.OTLPCA)
		if err != nil {
			return fmt.Errorf("read --otlp-ca: %w", err)
		}
		cfg.CAs = x509.NewCertPool()
		if !cfg.CAs.AppendCertsFromPEM(pem) {
			return api.Errorf(api.CodeInvalid, "%s holds no PEM certificate", n.cfg.OTLPCA).WithHint("name the CA that signed the collector's certificate with --otlp-ca")
		}
	}
	n.export = otlp.New(cfg)
	n.metrics.registry.MustRegister(exportCollector{n.export})
	return nil
}

// readHeaders reads lines of the form "Name: value". What they say is in no
// error: they are secrets.
func readHeaders(path string) (http.Header, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read --otlp-headers: %w", err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, api.Errorf(api.CodeInvalid, "%s can be read by others than its owner", path).WithHint("chmod 600 %s", path)
	}
	if info.Size() > maxHeadersFile {
		return nil, api.Errorf(api.CodeTooLarge, "%s is larger than %d bytes", path, maxHeadersFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read --otlp-headers: %w", err)
	}
	headers, number := http.Header{}, 0
	for line := range strings.Lines(string(b)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || strings.ContainsAny(name, " \t") || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, api.Errorf(api.CodeInvalid, "line %d of %s is no header", number, path).WithHint("write one per line, as in Authorization: Bearer …")
		}
		headers.Add(textproto.CanonicalMIMEHeaderKey(name), value)
	}
	return headers, nil
}

// exportTarget is what the settings say now.
func (n *Node) exportTarget() otlp.Target {
	s := n.settings()
	t := otlp.Target{Endpoint: s.Get(api.SettingOTLPEndpoint), Interval: s.Duration(api.SettingOTLPInterval)}
	for name := range strings.SplitSeq(s.Get(api.SettingOTLPSignals), ",") {
		t.Signals = append(t.Signals, otlp.Signal(strings.TrimSpace(name)))
	}
	return t
}

// traced makes a change that an operator asks for the first span of its trace.
func (n *Node) traced(h handler) handler {
	return func(r *http.Request) (any, error) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead || !n.export.Traces() {
			return h(r)
		}
		began, id := time.Now(), newSpan()
		out, err := h(r.WithContext(otlp.WithSpan(r.Context(), id)))
		n.export.Span(otlp.Span{
			Trace: api.Correlation(r.Context()), ID: id, Name: r.Pattern, Server: true, From: began, To: time.Now(),
			Attributes: map[string]string{"url.path": r.URL.Path}, Error: reason(err),
		})
		return out, err
	}
}

// traceApply is the span of a change on its way through the log, if a request
// waits for it. Commands of a rollout name it as what they are parts of.
func (n *Node) traceApply(ctx context.Context, began time.Time, entry any, index uint64, err error) {
	parent, ok := otlp.SpanOf(ctx)
	if !ok || !n.export.Traces() {
		return
	}
	s := otlp.Span{
		Trace: api.Correlation(ctx), ID: newSpan(), Parent: parent, Name: fmt.Sprintf("raft apply %T", entry),
		From: began, To: time.Now(), Error: reason(err), Attributes: map[string]string{"redflag.index": fmt.Sprint(index)},
	}
	s.Name = strings.Replace(s.Name, "state.", "", 1)
	if r, ok := entry.(state.CreateRollout); ok {
		s.ID = spanOfRollout(s.Trace, r.ID)
		s.Attributes["redflag.rollout"] = r.ID
	}
	n.export.Span(s)
}

func spanOfRollout(trace, id string) otlp.SpanID { return otlp.IDOf(trace, "rollout", id) }

// traceCommand sends what is known of a command that its agent says has ended:
// how long it waited for a poll, how long the agent took to begin, and the steps
// that the agent measured, laid end to end from there on.
func (n *Node) traceCommand(c *api.Command) {
	if !n.export.Traces() || c.CorrelationID == "" || c.EndedAt.IsZero() {
		return
	}
	id := otlp.IDOf(c.CorrelationID, "command", c.ID)
	whole := otlp.Span{
		Trace: c.CorrelationID, ID: id, Parent: spanOfRollout(c.CorrelationID, c.RolloutID),
		Name: "command " + string(c.Kind), From: c.CreatedAt, To: c.EndedAt,
		Attributes: map[string]string{
			"redflag.command": c.ID, "redflag.agent": c.AgentID, "redflag.region": c.Region, "redflag.rollout": c.RolloutID,
			"redflag.artifact": c.Artifact, "redflag.version": c.Version, "redflag.state": string(c.State),
		},
	}
	if c.Failure != nil {
		whole.Error = c.Failure.String()
	}
	n.export.Span(whole)
	part := func(name string, from, to time.Time) {
		if !from.IsZero() && !to.Before(from) {
			n.export.Span(otlp.Span{Trace: c.CorrelationID, ID: otlp.IDOf(c.CorrelationID, "command", c.ID, name), Parent: id, Name: name, From: from, To: to})
		}
	}
	if c.LeasedAt.IsZero() {
		return
	}
	part("wait for poll", c.CreatedAt, c.LeasedAt)
	at := c.LeasedAt
	if !c.StartedAt.IsZero() {
		part("begin", c.LeasedAt, c.StartedAt)
		at = c.StartedAt
	}
	if c.Log == nil {
		return
	}
	for _, s := range c.Log.Steps {
		end := at.Add(time.Duration(s.Millis) * time.Millisecond)
		part(s.Name, at, end)
		at = end
	}
}

func newSpan() (id otlp.SpanID) {
	_, _ = rand.Read(id[:]) // crypto/rand never fails; it aborts the program
	return id
}

// reason is what a span says of an error.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return string(api.CodeOf(err)) + ": " + err.Error()
}
