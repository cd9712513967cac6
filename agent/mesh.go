package agent

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/api"
	"redflag/telemetry"
	"redflag/trust/pki"
)

const (
	// callTimeout bounds one request to one node. A node that is behind may
	// wait a second before it says so.
	callTimeout = 15 * time.Second
	dialTimeout = 5 * time.Second
	// idleConn outlives the longest usual poll interval: connecting anew costs
	// a node many times a poll. One that has too many connections closes them.
	idleConn = 3 * time.Minute
)

// mesh speaks to nodes, one at a time and the best one first. It is safe for
// concurrent use.
type mesh struct {
	nodes   *nodeList
	http    *http.Client
	log     hclog.Logger
	timeout time.Duration // of one request to one node

	measured     string // id of the node that roundTrip stays with
	measuredFrom time.Time
}

func newMesh(nodes *nodeList, conf func(addr string) *tls.Config, log hclog.Logger) *mesh {
	return &mesh{nodes: nodes, http: httpClient(conf), log: log, timeout: callTimeout}
}

// httpClient speaks HTTP/1.1 over connections that live from poll to poll.
// conf is asked for each dial, because credentials may have been replaced.
func httpClient(conf func(addr string) *tls.Config) *http.Client {
	dial := func(ctx context.Context, _, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		c, err := pki.DialResuming(ctx, &net.Dialer{Control: watchful}, addr, conf(addr))
		if err != nil {
			return nil, err // not a *tls.Conn that is nil
		}
		return c, nil
	}
	return &http.Client{Transport: &http.Transport{
		DialTLSContext:      dial,
		MaxIdleConnsPerHost: 1,
		MaxIdleConns:        4,
		IdleConnTimeout:     idleConn,
		DisableCompression:  true,
	}}
}

// close drops the idle connections.
func (m *mesh) close() { m.http.CloseIdleConnections() }

// client speaks to one node.
func (m *mesh) client(n api.NodeAddr) *api.Client {
	return &api.Client{Servers: []string{"https://" + n.Addr}, HTTP: m.http}
}

// each calls the nodes in their order, each once at most, until one call
// succeeds or fails for a reason that another node would give as well.
func (m *mesh) each(ctx context.Context, movesOn func(error) bool, call func(context.Context, api.NodeAddr, *api.Client) error) error {
	err := error(api.Errorf(api.CodeUnavailable, "no node is known").WithHint("pass --node host:port"))
	for _, n := range m.nodes.order() {
		if left := m.nodes.closedFor(n); left > 0 {
			closed := api.Errorf(api.CodeRateLimited, "node %s asked to be left alone for %s", n.ID, left.Round(time.Second))
			closed.RetryAfter = api.Duration(left)
			err = closed
			continue
		}
		if err = m.one(ctx, n, call); err == nil {
			m.nodes.stay(n)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !movesOn(err) {
			return err
		}
		m.nodes.failed(n, retryAfter(err))
		telemetry.For(ctx, m.log).Debug("node passed over", telemetry.KeyNode, n.ID, "addr", n.Addr, telemetry.KeyError, err)
	}
	return err
}

func (m *mesh) one(ctx context.Context, n api.NodeAddr, call func(context.Context, api.NodeAddr, *api.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	return call(ctx, n, m.client(n))
}

// announce tells the tracker of the nearest node about this agent.
func (m *mesh) announce(ctx context.Context, infoHash string, req api.AnnounceRequest) (resp api.AnnounceResponse, err error) {
	err = m.each(ctx, anotherMight, func(ctx context.Context, _ api.NodeAddr, c *api.Client) error {
		resp = api.AnnounceResponse{}
		return c.Do(ctx, http.MethodPost, "/v1/swarm/"+infoHash+"/announce", req, &resp)
	})
	return resp, err
}

// metadata fetches a file of the TUF repository.
func (m *mesh) metadata(ctx context.Context, name string, maxLength int64) (b []byte, err error) {
	err = m.each(ctx, anotherMight, func(ctx context.Context, _ api.NodeAddr, c *api.Client) error {
		b, err = c.Raw(ctx, "/v1/tuf/"+name, maxLength)
		return err
	})
	return b, err
}

// retryAfter is how long a node asked to be left alone, 0 if it did not.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*api.Error](err); ok {
		return min(max(0, time.Duration(e.RetryAfter)), maxRetryAfter)
	}
	return 0
}

// maxRetryAfter bounds what a node may ask for.
const maxRetryAfter = 10 * time.Minute

// anyFailure moves on whatever a node says.
func anyFailure(error) bool { return true }

// anotherMight moves on when only this node's condition is to blame.
func anotherMight(err error) bool {
	switch api.CodeOf(err) {
	case api.CodeUnavailable, api.CodeBehind, api.CodeIndeterminate, api.CodeInternal, api.CodeRateLimited:
		return true
	default:
		return false
	}
}
