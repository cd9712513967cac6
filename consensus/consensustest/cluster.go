// Package consensustest starts whole Raft clusters for tests: real nodes in one
// process, on loopback TCP, with real files that are really synced.
//
// It owns the harness only. It must never be imported outside of tests.
package consensustest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus"
	"redflag/consensus/state"
)

const (
	timeout  = 300 * time.Millisecond // of heartbeat and election
	patience = 20 * time.Second
	interval = 5 * time.Millisecond
)

// Cluster is a cluster under test. Its verbs fail the test when they do not
// succeed in time, and are to be called from the test's goroutine.
type Cluster struct {
	t       testing.TB
	dir     string
	net     *network
	options []func(*consensus.Config)

	mu    sync.Mutex
	nodes []*consensus.Cluster // nil where a node is down
}

// NewCluster starts n nodes and joins them into one cluster. The options may
// change the configuration of each node. It is taken down with the test.
func NewCluster(tb testing.TB, n int, options ...func(*consensus.Config)) *Cluster {
	tb.Helper()
	c := &Cluster{t: tb, dir: tb.TempDir(), net: newNetwork(), options: options, nodes: make([]*consensus.Cluster, n)}
	tb.Cleanup(c.close)
	for i := range n {
		c.Restart(i)
	}
	require.NoError(tb, c.Node(0).Bootstrap())
	c.Leader()
	for i := 1; i < n; i++ {
		c.eventually(func() bool {
			return c.Node(c.Leader()).Join(tb.Context(), name(i), name(i)) == nil
		}, "node %d cannot join", i)
	}
	c.WaitConverged()
	return c
}

// Add starts a further node, which waits to be joined, and returns its number.
func (c *Cluster) Add() int {
	c.t.Helper()
	c.mu.Lock()
	i := len(c.nodes)
	c.nodes = append(c.nodes, nil)
	c.mu.Unlock()
	c.Restart(i)
	return i
}

// Name returns the id of a node.
func Name(i int) string { return name(i) }

func name(i int) string { return fmt.Sprintf("n%d", i) }

// Node returns a running node, nil for one that is down.
func (c *Cluster) Node(i int) *consensus.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nodes[i]
}

func (c *Cluster) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.nodes)
}

// Reachable reports whether a call from one node to another would arrive.
func (c *Cluster) Reachable(from, to int) bool { return c.net.reachable(name(from), name(to)) }

// Dir returns the folder of a node.
func (c *Cluster) Dir(i int) string { return filepath.Join(c.dir, name(i)) }

// Restart starts a node that is down, on the files that it left.
func (c *Cluster) Restart(i int) {
	c.t.Helper()
	listener, err := c.net.listen(c.t.Context(), name(i))
	require.NoError(c.t, err)
	cfg := consensus.Config{
		NodeID:   name(i),
		Addr:     name(i),
		Dir:      c.Dir(i),
		Listener: listener,
		Dial:     func(ctx context.Context, id, _ string) (net.Conn, error) { return c.net.dial(ctx, name(i), id) },
		Forward: func(ctx context.Context, leader, _ string, body []byte) ([]byte, error) {
			return c.forward(ctx, name(i), leader, body)
		},
		Timeout: timeout,
	}
	for _, option := range c.options {
		option(&cfg)
	}
	node, err := consensus.Open(cfg)
	require.NoError(c.t, err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nodes[i] = node
	c.net.heal(name(i))
}

func (c *Cluster) forward(ctx context.Context, from, leader string, body []byte) ([]byte, error) {
	for i := range c.size() {
		if node := c.Node(i); name(i) == leader && node != nil && c.net.reachable(from, leader) {
			return node.HandleForward(ctx, body)
		}
	}
	return nil, api.Errorf(api.CodeUnavailable, "node %s is not reachable", leader)
}

// Kill takes a node down as a crash would: nobody hears a farewell, and
// nothing is flushed.
func (c *Cluster) Kill(i int) {
	c.t.Helper()
	c.net.isolate(name(i))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.stop(ctx, i)
}

// Stop takes a node down in good order.
func (c *Cluster) Stop(i int) {
	c.t.Helper()
	c.stop(context.Background(), i)
}

func (c *Cluster) stop(ctx context.Context, i int) {
	c.t.Helper()
	c.mu.Lock()
	node := c.nodes[i]
	c.nodes[i] = nil
	c.mu.Unlock()
	require.NoError(c.t, node.Close(ctx))
}

// Isolate cuts a node off from all others.
func (c *Cluster) Isolate(i int) { c.net.isolate(name(i)) }

// Heal undoes Isolate.
func (c *Cluster) Heal(i int) { c.net.heal(name(i)) }

// Leader waits for a leader that a majority follows and returns its number.
func (c *Cluster) Leader() int {
	c.t.Helper()
	leader := -1
	c.eventually(func() bool {
		leader = c.leader()
		return leader >= 0
	}, "no leader")
	return leader
}

func (c *Cluster) leader() int {
	best, term := -1, uint64(0)
	for i := range c.size() {
		node := c.Node(i)
		if node == nil || !c.net.reachable(name(i), name(i)) {
			continue
		}
		if s := node.Status(); s.LeaderID == name(i) && node.IsLeader() && s.Term > term {
			best, term = i, s.Term
		}
	}
	return best
}

// Follower waits for a leader and returns the number of a running node that is
// not it.
func (c *Cluster) Follower() int {
	c.t.Helper()
	leader := c.Leader()
	for i := range c.size() {
		if i != leader && c.Node(i) != nil {
			return i
		}
	}
	require.FailNow(c.t, "no follower is running")
	return -1
}

// WaitApplied waits until a node has applied an index.
func (c *Cluster) WaitApplied(i int, index uint64) {
	c.t.Helper()
	c.eventually(func() bool { return c.Node(i).State().Applied() >= index }, "node %d does not reach %d", i, index)
}

// WaitConverged proposes a Tick through every running node and waits until all
// of them have applied it.
func (c *Cluster) WaitConverged() {
	c.t.Helper()
	var index uint64
	for i := range c.size() {
		if node := c.Node(i); node != nil {
			c.eventually(func() bool {
				result, err := node.Propose(c.t.Context(), state.TypeTick, state.Tick{})
				index = max(index, result.Index)
				return err == nil
			}, "node %d cannot propose", i)
		}
	}
	for i := range c.size() {
		if c.Node(i) != nil {
			c.WaitApplied(i, index)
		}
	}
}

func (c *Cluster) eventually(condition func() bool, message string, args ...any) {
	c.t.Helper()
	require.Eventually(c.t, condition, patience, interval, append([]any{message}, args...)...)
}

func (c *Cluster) close() {
	for i := range c.size() {
		if c.Node(i) != nil {
			c.Kill(i)
		}
	}
}
