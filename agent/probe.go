package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"time"

	"redflag/api"
)

// probeEvery is the mean time between two probes of nodes that the agent does
// not poll. It is slow: a hundred thousand agents make 333 of them a second.
const probeEvery = 5 * time.Minute

// probe measures the round trip to the other nodes, one after the other, so
// that a failover finds the nearest of them.
func (m *mesh) probe(ctx context.Context) error {
	for i := 0; ; i++ {
		if !pause(ctx, probeEvery/2+rand.N(probeEvery)) {
			return nil
		}
		if others := m.nodes.order(); len(others) > 1 {
			m.probeOne(ctx, others[1+i%(len(others)-1)])
		}
	}
}

// trialEvery is how often the agent looks whether a node that failed is due
// for a trial.
const trialEvery = time.Second

// heal tries the nodes that failed until they are well again, so that polls
// need not find out.
func (m *mesh) heal(ctx context.Context) error {
	for pause(ctx, trialEvery) {
		for _, n := range m.nodes.onTrial() {
			m.probeOne(ctx, n)
		}
	}
	return nil
}

func (m *mesh) probeOne(ctx context.Context, n api.NodeAddr) {
	for range 2 { // the first opens the connection, the second is measured
		err := m.one(ctx, n, func(ctx context.Context, n api.NodeAddr, c *api.Client) error {
			return m.timed(ctx, n, func(ctx context.Context) error {
				return c.Do(ctx, http.MethodGet, "/v1/health", nil, nil)
			})
		})
		if err != nil {
			if ctx.Err() == nil {
				m.nodes.failed(n, 0)
			}
			return
		}
	}
	m.nodes.well(n)
}

// errNewConnection says that a round trip was not measured: a handshake took
// part of the time.
var errNewConnection = errors.New("the connection was not open yet")

// measuredFor is how long roundTrip stays with a node. Which one is nearest is
// measured too, and under load by chance: what a round trip takes without load would
// have to be learnt anew each time.
const measuredFor = 10 * time.Minute

// roundTrip measures one to a near node, under whatever load the link has. It says
// nothing about the node, so it is not held against it. It is for one goroutine.
func (m *mesh) roundTrip(ctx context.Context) (to string, took time.Duration, err error) {
	n, ok := m.nodes.healthy(m.measured)
	if !ok || time.Since(m.measuredFrom) > measuredFor {
		nodes := m.nodes.order()
		if len(nodes) == 0 {
			return "", 0, errNewConnection
		}
		n, m.measuredFrom = nodes[0], time.Now()
	}
	m.measured = n.ID
	reused := false
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }})
	err = m.one(ctx, n, func(ctx context.Context, _ api.NodeAddr, c *api.Client) error {
		began := time.Now()
		err := c.Do(ctx, http.MethodGet, "/v1/health", nil, nil)
		took = time.Since(began)
		return err
	})
	if err == nil && !reused {
		err = errNewConnection
	}
	return n.ID, took, err
}

// timed makes one request to n and counts its round trip, but only over a
// connection that was open already: a handshake takes two more.
func (m *mesh) timed(ctx context.Context, n api.NodeAddr, request func(context.Context) error) error {
	reused := false
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
	began := time.Now()
	err := request(httptrace.WithClientTrace(ctx, trace))
	if err == nil && reused {
		m.nodes.rtt.Observe(n.ID, time.Since(began))
	}
	return err
}
