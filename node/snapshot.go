package node

import (
	"fmt"
	"net/http"
	"time"
)

// saveSnapshot streams this node's state. What is in it only an admin may see:
// hashes of every token, and the cluster's keys, sealed. It works without a
// leader too, so that a cluster that has lost its majority can be saved; the
// audit log hears of it later.
func (n *Node) saveSnapshot(r *http.Request) (any, error) {
	s, err := n.cluster.NewSnapshot()
	if err != nil {
		return nil, err
	}
	n.auditLater(r, operator(r), r.Pattern, r.URL.Path, fmt.Sprintf("%d bytes", s.Size()))
	name := fmt.Sprintf("redflag-%s-%s.snapshot", n.cfg.ID, time.Now().UTC().Format("20060102T150405"))
	return stream{name: name, size: s.Size(), write: s.Write, close: s.Close}, nil
}
