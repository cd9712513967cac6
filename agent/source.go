package agent

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"redflag/api"
	"redflag/p2p"
	"redflag/ratelimit"
)

// rangeTimeout bounds one range of a payload: under the narrowest cap it takes
// two minutes.
const rangeTimeout = 5 * time.Minute

// source fetches payloads from nodes over HTTPS, where the swarm does not. Its
// connections are its own, under the agent's caps, and what a node says to it
// has no bearing on polls.
type source struct {
	nodes  *nodeList
	http   *http.Client
	limits *limits
}

var _ p2p.Source = (*source)(nil)

func newSource(nodes *nodeList, conf func() *tls.Config, limits *limits) *source {
	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, callTimeout) // the transport's has no end, and one connection is all there may be
		defer cancel()
		raw, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		wire := p2p.Wire(raw)
		wire.Limit([]*ratelimit.Bucket{limits.download}, []*ratelimit.Bucket{limits.upload})
		conn := tls.Client(wire, conf())
		if err := conn.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, err
		}
		return conn, nil
	}
	return &source{nodes: nodes, limits: limits, http: &http.Client{Transport: &http.Transport{
		DialTLSContext: dial, MaxIdleConnsPerHost: 1, MaxConnsPerHost: 1, IdleConnTimeout: time.Minute,
		ResponseHeaderTimeout: callTimeout, DisableCompression: true,
	}}}
}

// fallback is how a download uses the source.
func (s *source) fallback() *p2p.Fallback {
	return &p2p.Fallback{Source: s, Limits: s.limits.tooSlow}
}

// Info implements p2p.Source.
func (s *source) Info(ctx context.Context, infoHash string, limit int64) (b []byte, err error) {
	err = s.each(ctx, func(ctx context.Context, c *api.Client) error {
		b, err = c.Raw(ctx, "/v1/swarm/"+infoHash+"/info", limit)
		return err
	})
	return b, err
}

// Range implements p2p.Source.
func (s *source) Range(ctx context.Context, infoHash string, at int64, b []byte) error {
	return s.each(ctx, func(ctx context.Context, c *api.Client) error {
		return c.Range(ctx, "/v1/swarm/"+infoHash+"/data", at, b)
	})
}

// each asks the nodes in their order until one serves.
func (s *source) each(ctx context.Context, call func(context.Context, *api.Client) error) error {
	err := error(api.Errorf(api.CodeUnavailable, "no node is known"))
	for _, n := range s.nodes.order() {
		work, cancel := context.WithTimeout(ctx, rangeTimeout)
		err = call(work, &api.Client{Servers: []string{"https://" + n.Addr}, HTTP: s.http})
		cancel()
		if err == nil || ctx.Err() != nil {
			break
		}
		err = fmt.Errorf("node %s: %w", n.ID, err)
	}
	return err
}

func (s *source) close() { s.http.CloseIdleConnections() }

// tooSlow says how long the swarm may be slower than what. A cap is no fault
// of the swarm.
func (l *limits) tooSlow() (patience time.Duration, least api.Rate) {
	l.mu.Lock()
	all := l.set.Settings()
	l.mu.Unlock()
	least = all.Rate(api.SettingFallbackRate)
	if limit := l.download.Rate(); limit != api.Unlimited {
		least = min(least, limit/2)
	}
	return all.Duration(api.SettingFallbackAfter), least
}
