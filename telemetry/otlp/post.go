package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	collogs "go.opentelemetry.io/proto/slim/otlp/collector/logs/v1"
	colmetrics "go.opentelemetry.io/proto/slim/otlp/collector/metrics/v1"
	coltraces "go.opentelemetry.io/proto/slim/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

const (
	// postTimeout bounds one request.
	postTimeout = 10 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 64 << 10
	// maxRetryAfter bounds what a collector may ask for.
	maxRetryAfter = 5 * time.Minute
)

func newClient(cas *x509.CertPool) *http.Client {
	return &http.Client{
		Timeout: postTimeout,
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: len(Signals), IdleConnTimeout: 2 * time.Minute,
			TLSClientConfig: &tls.Config{RootCAs: cas, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true,
		},
		// The credentials are for the endpoint and nobody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// sendError is why a request was not taken. It holds nothing of the request.
type sendError struct {
	reason string
	again  bool          // it may be taken later
	after  time.Duration // not before
}

// Error implements error.
func (e *sendError) Error() string { return e.reason }

// post sends one request and returns how many of its items were refused.
func (e *Exporter) post(ctx context.Context, t Target, s Signal, m proto.Message) (refused int, _ *sendError) {
	body, err := encode(m)
	if err != nil {
		return 0, &sendError{reason: "encode: " + err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(t.Endpoint, "/")+"/v1/"+string(s), bytes.NewReader(body))
	if err != nil {
		return 0, &sendError{reason: "the endpoint is no URL"}
	}
	if e.cfg.Headers != nil {
		req.Header = e.cfg.Headers.Clone()
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("Content-Encoding", "gzip")
	resp, err := e.http.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return 0, &sendError{reason: err.Error(), again: true}
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode == http.StatusOK && err == nil:
		return refusedOf(s, answer), nil
	case resp.StatusCode == http.StatusOK:
		return 0, &sendError{reason: "the answer is cut off", again: true}
	}
	failed := &sendError{reason: fmt.Sprintf("the collector answers %d", resp.StatusCode)}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		failed.again = true
		if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && seconds > 0 {
			failed.after = min(time.Duration(seconds)*time.Second, maxRetryAfter)
		}
	}
	return 0, failed
}

func encode(m proto.Message) ([]byte, error) {
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	err = z.Close()
	return out.Bytes(), err
}

// refusedOf reads how many items an answer says that the collector refused. An
// answer that is none of its type refuses nothing.
func refusedOf(s Signal, answer []byte) int {
	var refused int64
	switch s {
	case Logs:
		var r collogs.ExportLogsServiceResponse
		if proto.Unmarshal(answer, &r) == nil {
			refused = r.GetPartialSuccess().GetRejectedLogRecords()
		}
	case Metrics:
		var r colmetrics.ExportMetricsServiceResponse
		if proto.Unmarshal(answer, &r) == nil {
			refused = r.GetPartialSuccess().GetRejectedDataPoints()
		}
	case Traces:
		var r coltraces.ExportTraceServiceResponse
		if proto.Unmarshal(answer, &r) == nil {
			refused = r.GetPartialSuccess().GetRejectedSpans()
		}
	}
	return int(max(0, refused))
}

// jitter returns d or up to a half less.
func jitter(d time.Duration) time.Duration { return d - rand.N(d/2) }
