package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"redflag/api"
	"redflag/trust/pki"
)

var (
	errLost   = errors.New("the answer got lost")
	errOutage = errors.New("the node is out of reach")
)

const exchangeTimeout = 15 * time.Second

// link is an agent's way to the node: HTTP/1.1 over TLS, with no goroutine and
// no buffer of its own between two exchanges, of which a fleet would have many.
type link struct {
	p    *profile
	of   int // whose it is: the number of the agent, from 0
	conf func() *tls.Config
	conn *tls.Conn // nil when there is none
}

// believed is the cluster's authorities, once for all agents: parsed for each
// they would be most of the fleet's memory.
type believed struct {
	mu    sync.Mutex
	pem   string
	roots *x509.CertPool
}

func (b *believed) pool(pem []byte) *x509.CertPool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pem != string(pem) {
		b.pem, b.roots = string(pem), x509.NewCertPool()
		b.roots.AppendCertsFromPEM(pem)
	}
	return b.roots
}

// exchange is how a request went.
type exchange struct {
	dialled, resumed bool
}

var readers = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// post sends a request, over a new connection if the kept one was closed
// meanwhile.
func (l *link) post(ctx context.Context, path string, in, out any) (seen exchange, err error) {
	if l.p.away(time.Now()) {
		l.close()
		return seen, errOutage
	}
	body, err := json.Marshal(in)
	if err != nil {
		return seen, err
	}
	kept := l.conn != nil
	if seen, err = l.once(ctx, path, body, out); err != nil && kept && !errors.As(err, new(*api.Error)) {
		seen, err = l.once(ctx, path, body, out)
	}
	return seen, err
}

func (l *link) once(ctx context.Context, path string, body []byte, out any) (seen exchange, err error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTimeout)
	defer cancel()
	keep := false
	defer func() {
		if !keep {
			l.close()
		}
	}()
	if l.conn == nil {
		seen.dialled = true
		d := net.Dialer{KeepAlive: -1}
		if l.p.loopback {
			d.LocalAddr = localAddr(l.of)
		}
		if l.conn, err = pki.DialResuming(ctx, &d, l.p.node, l.conf()); err != nil {
			return seen, err
		}
		seen.resumed = l.conn.ConnectionState().DidResume
	}
	if l.p.latency > 0 {
		time.Sleep(l.p.latency)
	}
	deadline, _ := ctx.Deadline()
	_ = l.conn.SetDeadline(deadline)
	if _, err := l.conn.Write(requestOf(l.p.node, path, body)); err != nil {
		return seen, err
	}
	r := readers.Get().(*bufio.Reader)
	defer readers.Put(r)
	r.Reset(l.conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return seen, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, api.MaxBody))
	_ = resp.Body.Close()
	if err != nil {
		return seen, err
	}
	keep = l.p.keepAlive && !resp.Close
	if resp.StatusCode >= 300 {
		return seen, refusal(resp, answer)
	}
	return seen, json.Unmarshal(answer, out)
}

func requestOf(host, path string, body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, host, len(body))
	b.Write(body)
	return b.Bytes()
}

// refusal is what a node says when it does not do what it was asked to.
func refusal(resp *http.Response, body []byte) error {
	var p api.Problem
	if err := json.Unmarshal(body, &p); err != nil || p.Code == "" {
		return fmt.Errorf("HTTP status %d", resp.StatusCode)
	}
	e := api.Errorf(p.Code, "%s", p.Message)
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = api.Duration(time.Duration(seconds) * time.Second)
	}
	return e
}

func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return time.Duration(e.RetryAfter)
	}
	return 0
}

// close ends the connection without a word: the lengths of what came are known.
func (l *link) close() {
	if l.conn != nil {
		_ = l.conn.NetConn().Close()
		l.conn = nil
	}
}

// away reports whether the fleet has lost the node.
func (p *profile) away(now time.Time) bool {
	from := p.outageStarted
	return !from.IsZero() && !now.Before(from) && now.Before(from.Add(p.outageFor))
}
