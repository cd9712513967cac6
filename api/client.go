package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// MaxBody bounds a JSON body in either direction, in bytes.
const MaxBody = 4 << 20

// Client speaks the HTTP API to one of several servers: the first that
// answers. It is safe for concurrent use.
type Client struct {
	// Servers are base URLs without a trailing slash, in order of preference.
	Servers []string
	// HTTP does the round trips; its TLS settings say who the caller is.
	HTTP *http.Client
	// Bearer is an operator's API token, or empty on the mesh.
	Bearer string
	// Timeout bounds each try of Do at one server; zero leaves it to HTTP.
	Timeout time.Duration
}

// Do sends in (nil for none) as JSON and decodes the answer into out (nil to
// ignore it). A failure to reach a server moves on to the next one; a failure
// to get an answer does not, unless method is GET: the caller repeats it with
// the same id. Errors are *Error where a server spoke.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
	}
	var last error
	for _, server := range c.Servers {
		var rd io.Reader
		if in != nil {
			rd = bytes.NewReader(body)
		}
		last = c.try(ctx, method, server+path, rd, int64(len(body)), out)
		if ctx.Err() != nil || !moveOn(last, method) {
			break
		}
	}
	return c.explain(method, last)
}

// reply is an answer as it arrives.
type reply struct {
	status int
	size   int64 // of the body, -1 if that is not known
	body   io.Reader
}

// unreachedError marks an exchange that ended before an answer was read.
type unreachedError struct {
	cause error
	sent  bool // the server may have got the request
}

func (e *unreachedError) Error() string { return e.cause.Error() }
func (e *unreachedError) Unwrap() error { return e.cause }

// moveOn reports whether the next server should be asked. A change whose
// connection broke is only repeated when it cannot have been received.
func moveOn(err error, method string) bool {
	if u, ok := errors.AsType[*unreachedError](err); ok {
		return method == http.MethodGet || !u.sent
	}
	return CodeOf(err) == CodeUnavailable
}

func (c *Client) explain(method string, err error) error {
	if len(c.Servers) == 0 {
		return Errorf(CodeInvalid, "no server is configured").WithHint("name one with --server or --credential")
	}
	u, ok := errors.AsType[*unreachedError](err)
	if !ok {
		return err
	}
	if u.sent && method != http.MethodGet {
		return Errorf(CodeIndeterminate, "the answer was lost, the change may have been made: %v", u).
			WithHint("repeat it: that is harmless")
	}
	return Errorf(CodeUnavailable, "no server answers: %v", u).
		WithHint("is a node running at %s? ask another with --server, or list several in REDFLAG_SERVER", strings.Join(c.Servers, ", "))
}

// Upload streams size bytes of r with PUT and decodes the answer into out. It
// uses the first server only: a stream cannot be sent twice.
func (c *Client) Upload(ctx context.Context, path string, r io.Reader, size int64, out any) error {
	if len(c.Servers) == 0 {
		return c.explain(http.MethodPut, nil)
	}
	return c.explain(http.MethodPut, c.send(ctx, http.MethodPut, c.Servers[0]+path, "application/octet-stream", r, size, decodeInto(out)))
}

// Exchange posts body to the first server and returns its answer as it is.
func (c *Client) Exchange(ctx context.Context, path, contentType string, body []byte, limit int64) (got []byte, err error) {
	if len(c.Servers) == 0 {
		return nil, c.explain(http.MethodPost, nil)
	}
	err = c.send(ctx, http.MethodPost, c.Servers[0]+path, contentType, bytes.NewReader(body), int64(len(body)),
		func(r reply) (err error) {
			got, err = readAll(r, limit)
			return err
		})
	return got, c.explain(http.MethodPost, err)
}

// Raw fetches at most limit bytes.
func (c *Client) Raw(ctx context.Context, path string, limit int64) ([]byte, error) {
	var last error
	var got []byte
	for _, server := range c.Servers {
		last = c.send(ctx, http.MethodGet, server+path, "", nil, 0, func(r reply) (err error) {
			got, err = readAll(r, limit)
			return err
		})
		if ctx.Err() != nil || !moveOn(last, http.MethodGet) {
			break
		}
	}
	return got, c.explain(http.MethodGet, last)
}

// Download fetches a stream from the first server that answers, and hands it to
// take with its size, -1 if that is not known.
func (c *Client) Download(ctx context.Context, path string, take func(body io.Reader, size int64) error) error {
	var last error
	for _, server := range c.Servers {
		last = c.send(ctx, http.MethodGet, server+path, "", nil, 0, func(r reply) error {
			if r.status >= 300 {
				_, err := readAll(r, MaxBody)
				return err
			}
			return take(r.body, r.size)
		})
		if ctx.Err() != nil || !moveOn(last, http.MethodGet) {
			break
		}
	}
	return c.explain(http.MethodGet, last)
}

// try is send with the time bound of one try.
func (c *Client) try(ctx context.Context, method, target string, body io.Reader, size int64, out any) error {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	return c.send(ctx, method, target, "application/json", body, size, decodeInto(out))
}

func (c *Client) send(ctx context.Context, method, target, contentType string, body io.Reader, size int64, handle func(reply) error) error {
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	if body != nil {
		req.ContentLength = size
		req.Header.Set("Content-Type", contentType)
	}
	if c.Bearer != "" {
		req.Header.Set("Authorization", "Bearer "+c.Bearer)
	}
	SetTraceparent(ctx, req.Header)
	var sent atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { sent.Store(true) },
	}))
	resp, err := c.HTTP.Do(req)
	if err != nil {
		if ue, ok := errors.AsType[*url.Error](err); ok {
			err = ue.Err
		}
		return &unreachedError{cause: err, sent: sent.Load()}
	}
	defer func() {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection is kept
		_ = resp.Body.Close()
	}()
	err = handle(reply{resp.StatusCode, resp.ContentLength, resp.Body})
	if e, ok := errors.AsType[*Error](err); ok {
		e.RetryAfter = retryAfter(resp.Header)
	}
	return err
}

// retryAfter reads how many seconds a server wants to be left alone.
func retryAfter(h http.Header) Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return Duration(time.Duration(seconds) * time.Second)
}

func decodeInto(out any) func(reply) error {
	return func(r reply) error {
		b, err := readAll(r, MaxBody)
		if err != nil || out == nil {
			return err
		}
		if err := json.Unmarshal(b, out); err != nil {
			return Errorf(CodeIndeterminate, "decode answer: %v", err)
		}
		return nil
	}
}

// readAll returns the body of a success, and the Error of anything else.
func readAll(r reply, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.body, limit+1))
	if err != nil {
		return nil, &unreachedError{cause: fmt.Errorf("read answer: %w", err), sent: true}
	}
	if int64(len(b)) > limit {
		return nil, Errorf(CodeTooLarge, "the answer is larger than %d bytes", limit)
	}
	if r.status < 300 {
		return b, nil
	}
	e := &Error{}
	if json.Unmarshal(b, e) != nil || e.Code == "" {
		e = Errorf(CodeOfStatus(r.status), "server answered %d %s", r.status, http.StatusText(r.status))
	}
	return nil, e
}
