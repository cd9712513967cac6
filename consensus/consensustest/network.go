package consensustest

import (
	"context"
	"errors"
	"net"
	"sync"
)

var errCut = errors.New("network is cut")

// network connects nodes over loopback TCP. Nodes know each other by name, so
// that one can come back on another port.
type network struct {
	mu    sync.Mutex
	ports map[string]string // node to its listener's address
	cut   map[string]bool   // nodes that nobody reaches and that reach nobody
	conns map[net.Conn][2]string
}

func newNetwork() *network {
	return &network{ports: map[string]string{}, cut: map[string]bool{}, conns: map[net.Conn][2]string{}}
}

func (n *network) listen(ctx context.Context, name string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err == nil {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.ports[name] = l.Addr().String()
	}
	return l, err
}

func (n *network) dial(ctx context.Context, from, to string) (net.Conn, error) {
	n.mu.Lock()
	port, cut := n.ports[to], n.cut[from] || n.cut[to]
	n.mu.Unlock()
	if cut {
		return nil, errCut
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", port)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut[from] || n.cut[to] {
		return nil, errors.Join(errCut, conn.Close())
	}
	n.conns[conn] = [2]string{from, to}
	return conn, nil
}

// reachable reports whether a call from one node would arrive at the other.
func (n *network) reachable(from, to string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.cut[from] && !n.cut[to]
}

func (n *network) isolate(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[name] = true
	for conn, ends := range n.conns {
		if ends[0] == name || ends[1] == name {
			_ = conn.Close()
			delete(n.conns, conn)
		}
	}
}

func (n *network) heal(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, name)
}
