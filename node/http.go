package node

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"redflag/api"
	"redflag/telemetry"
)

const (
	// maxSmallBody bounds the body of enrolment, in bytes: strangers send it.
	maxSmallBody = 64 << 10
	// maxPollBody bounds a poll, and so what a node remembers of one agent.
	maxPollBody = 512 << 10
)

const (
	// bodyTimeout bounds how long a caller may take over a bounded body, and
	// answerTimeout the whole exchange: strangers may come.
	bodyTimeout   = 30 * time.Second
	answerTimeout = 2 * time.Minute
)

// handler answers a request with a value to be written as JSON, or an error.
// A nil value is an empty object.
type handler func(r *http.Request) (any, error)

// rawAnswer is an answer that is not JSON.
type rawAnswer struct {
	contentType string
	body        []byte
}

// stream is an answer of a known size that is too large to hold. close is called
// once it is written, or could not be.
type stream struct {
	name  string // of a file, for a browser
	size  int64
	part  string // Content-Range, where it is a part of something
	write func(io.Writer) error
	close func() error
}

// streamTimeout bounds how long a caller may take over a stream.
const streamTimeout = 30 * time.Minute

// send writes a stream. One that ends early cuts the connection, so that the
// caller sees that something is missing.
func (s stream) send(w http.ResponseWriter) error {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(streamTimeout))
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "attachment; filename="+strconv.Quote(s.name))
	w.Header().Set("Content-Length", strconv.FormatInt(s.size, 10))
	status := http.StatusOK
	if s.part != "" {
		w.Header().Set("Content-Range", s.part)
		status = http.StatusPartialContent
	}
	w.WriteHeader(status)
	return errors.Join(s.write(w), s.close())
}

// tagged is an answer with the version of what it shows, for If-Match.
type tagged struct {
	version uint64
	value   any
}

// ifMatch reads the version that a change is based on, if the caller names one.
func ifMatch(r *http.Request, version *uint64) error {
	tag := r.Header.Get("If-Match")
	if tag == "" || tag == "*" {
		return nil
	}
	v, err := strconv.ParseUint(strings.Trim(tag, `"`), 10, 64)
	if err != nil {
		return api.Errorf(api.CodeStale, "If-Match %.40q is no version", tag).WithHint("send the ETag of the last answer")
	}
	*version = v
	return nil
}

// serve turns a handler into an http.Handler: one place that bounds the body,
// sets the correlation id, logs, and writes the answer or the error.
func (n *Node) serve(limit int64, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		ctx := api.WithCorrelation(r.Context(), api.CorrelationFromHeader(r.Header))
		api.SetTraceparent(ctx, w.Header())
		if limit > 0 {
			r.Body = http.MaxBytesReader(w, r.Body, limit)
			rc := http.NewResponseController(w)
			_ = rc.SetReadDeadline(start.Add(bodyTimeout))
			_ = rc.SetWriteDeadline(start.Add(answerTimeout))
		} else {
			r.Body = &steady{r.Body, http.NewResponseController(w)}
		}
		out, err := h(r.WithContext(ctx))
		status := http.StatusOK
		if err != nil {
			e := n.public(ctx, err)
			status, out = e.Code.HTTPStatus(), api.NewProblem(e, api.Correlation(ctx))
			if e.Code == api.CodeUnavailable || e.Code == api.CodeRateLimited {
				seconds := math.Ceil(time.Duration(e.RetryAfter).Seconds())
				w.Header().Set("Retry-After", strconv.Itoa(max(1, int(seconds))))
			}
		}
		n.metrics.observe(r.Pattern, status, time.Since(start))
		log := telemetry.For(ctx, n.log)
		if s, ok := out.(stream); ok {
			if err := s.send(w); err != nil {
				log.Warn("stream not sent", "path", r.URL.Path, telemetry.KeyError, err)
				panic(http.ErrAbortHandler)
			}
		} else {
			if w.Header().Get("Connection") == "close" {
				lastAnswer(ctx)
			}
			writeAnswer(w, status, out)
		}
		log.Debug("request", "method", r.Method, "path", r.URL.Path, "status", status, "ms", time.Since(start).Milliseconds())
	})
}

// steady is a body of any length that must not stand still for bodyTimeout.
type steady struct {
	io.ReadCloser
	rc *http.ResponseController
}

func (b *steady) Read(p []byte) (int, error) {
	_ = b.rc.SetReadDeadline(time.Now().Add(bodyTimeout))
	k, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) { // what is left to do with it takes as long as it takes
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return k, err
}

// bounded gives a handler that reads no body the same patience with its caller.
func bounded(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout))
		_ = rc.SetWriteDeadline(time.Now().Add(answerTimeout))
		h.ServeHTTP(w, r)
	})
}

func writeAnswer(w http.ResponseWriter, status int, out any) {
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	if raw, ok := out.(rawAnswer); ok {
		w.Header().Set("Content-Type", raw.contentType)
		w.WriteHeader(status)
		_, _ = w.Write(raw.body)
		return
	}
	if t, ok := out.(tagged); ok {
		w.Header().Set("ETag", strconv.Quote(strconv.FormatUint(t.version, 10)))
		out = t.value
	}
	if out == nil {
		out = struct{}{}
	}
	contentType := "application/json"
	if _, ok := out.(api.Problem); ok {
		contentType = "application/problem+json"
	}
	b, err := json.Marshal(out)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"code":"internal","message":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n'))
}

// public maps any error to what a caller may know. What is not an *api.Error
// is a defect or a broken disk: it is logged, and the caller gets its
// correlation id to ask for.
func (n *Node) public(ctx context.Context, err error) *api.Error {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return e
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return api.Errorf(api.CodeTooLarge, "the body is larger than %d bytes", tooLarge.Limit)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return api.Errorf(api.CodeIndeterminate, "the request was given up").WithHint("repeat it with the same id")
	}
	telemetry.For(ctx, n.log).Error("request failed", telemetry.KeyError, err)
	return api.Errorf(api.CodeInternal, "something failed on node %s", n.cfg.ID).
		WithHint("look for correlation id %s in its log", api.Correlation(ctx))
}

// body decodes exactly one JSON value without unknown fields.
func body(r *http.Request, into any) error {
	if err := api.Decode(r.Body, into); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return err
		}
		return api.Errorf(api.CodeInvalid, "the body is not the JSON that %s wants: %v", r.URL.Path, err)
	}
	return nil
}
