package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"redflag/api"
	"redflag/p2p"
	"redflag/ratelimit"
)

const (
	// maxRange bounds what an agent may ask for at once, in bytes.
	maxRange = 1 << 20
	// rangesPerAgent bounds what one agent may ask for side by side.
	rangesPerAgent = 2
	// rangePause is when an agent that found no room may come again.
	rangePause = 2 * time.Second
)

// data serves a whole payload to an operator, to make a delta from.
func (n *Node) data(r *http.Request) (any, error) {
	a, err := n.servable(r)
	if err != nil {
		return nil, err
	}
	f, err := n.swarm.Open(a.InfoHash)
	if err != nil {
		return nil, err
	}
	n.auditLater(r, operator(r), r.Pattern, r.URL.Path, fmt.Sprintf("%s %s, %d bytes", a.Name, a.Version, a.Length))
	return stream{
		name: a.Name + "-" + a.Version, size: a.Length, close: f.Close,
		write: func(w io.Writer) error { _, err := io.CopyN(w, f, a.Length); return err },
	}, nil
}

// dataRange serves a part of a payload to an agent that the swarm does not
// serve, under the node's cap.
func (n *Node) dataRange(r *http.Request) (any, error) {
	a, err := n.servable(r)
	if err != nil {
		return nil, err
	}
	if err := n.mayCross(r, a.InfoHash); err != nil {
		return nil, err
	}
	from, to, err := parseRange(r.Header.Get("Range"), a.Length)
	if err != nil {
		return nil, err
	}
	most := int(n.settings().Int(api.SettingNodeRanges))
	leave, ok := n.ranges.enter(identity(r.Context()).ID, most)
	if !ok {
		busy := api.Errorf(api.CodeRateLimited, "node %s serves as many payload ranges as it may", n.cfg.ID)
		busy.RetryAfter = api.Duration(rangePause)
		return nil, busy
	}
	f, err := n.swarm.Open(a.InfoHash)
	if err != nil {
		leave()
		return nil, err
	}
	n.cap(r.Context())
	n.payloads.use(a.InfoHash, time.Now())
	return stream{
		name: a.Name + "-" + a.Version, size: to - from,
		part:  fmt.Sprintf("bytes %d-%d/%d", from, to-1, a.Length),
		close: func() error { leave(); return f.Close() },
		write: func(w io.Writer) error { _, err := io.Copy(w, io.NewSectionReader(f, from, to-from)); return err },
	}, nil
}

// info serves the info dictionary of a payload, whose hash an agent knows. It is
// small, and who waits for a peer of its region needs it before it finds one.
func (n *Node) info(r *http.Request) (any, error) {
	a, err := n.servable(r)
	if err != nil {
		return nil, err
	}
	b, err := n.swarm.Info(a.InfoHash)
	if err != nil {
		return nil, err
	}
	return rawAnswer{contentType: "application/x-bittorrent", body: b}, nil
}

// mayCross refuses an agent of another region that is not the one to fetch for it.
func (n *Node) mayCross(r *http.Request, hash string) error {
	id := identity(r.Context())
	if n.servesPeer(r.Context(), p2p.Peer{ID: id.ID, Region: id.Region}, hash) {
		return nil
	}
	return api.Errorf(api.CodeUnavailable, "node %s is of region %s, and the payload crosses to region %s by another way", n.cfg.ID, n.cfg.Region, id.Region).
		WithHint("wait for a node or a peer of the own region; one agent fetches for all when none serves")
}

// servable returns what the info hash of a request names, if this node has it.
func (n *Node) servable(r *http.Request) (api.Artifact, error) {
	hash := r.PathValue("hash")
	if !validInfoHash(hash) || !n.payloads.wanted(hash) {
		return api.Artifact{}, api.Errorf(api.CodeNotFound, "no artifact has info hash %.40q", hash)
	}
	n.payloads.want(hash)
	if !n.swarm.Has(hash) {
		return api.Artifact{}, api.Errorf(api.CodeUnavailable, "node %s does not have the whole payload yet", n.cfg.ID).
			WithHint("ask another node, or again in a while")
	}
	return n.payloads.artifact(hash), nil
}

// parseRange reads "bytes=FROM-TO" (RFC 9110), the one form that agents use,
// and returns it with the end excluded.
func parseRange(header string, length int64) (from, to int64, err error) {
	var last int64
	n, err := fmt.Sscanf(header, "bytes=%d-%d", &from, &last)
	if err != nil || n != 2 || header != fmt.Sprintf("bytes=%d-%d", from, last) {
		return 0, 0, api.Errorf(api.CodeInvalid, "the range %.60q is not of the form bytes=FROM-TO", header)
	}
	if from < 0 || last < from || last >= length || last-from >= maxRange {
		return 0, 0, api.Errorf(api.CodeInvalid, "the range %.60q is not inside of %d bytes, or of more than %d", header, length, maxRange)
	}
	return from, last + 1, nil
}

// ranges counts the payload ranges that are being served.
type ranges struct {
	mu    sync.Mutex
	all   int
	agent map[string]int
}

// enter takes a place, unless all are taken.
func (g *ranges) enter(agent string, most int) (leave func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= most || g.agent[agent] >= rangesPerAgent {
		return nil, false
	}
	if g.agent == nil {
		g.agent = map[string]int{}
	}
	g.all++
	g.agent[agent]++
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.all--
		if g.agent[agent]--; g.agent[agent] == 0 {
			delete(g.agent, agent)
		}
	}), true
}

// wireKey finds the connection of a request in its context.
type wireKey struct{}

func withWire(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if wire, ok := c.(*ratelimit.Conn); ok {
		return context.WithValue(ctx, wireKey{}, wire)
	}
	return ctx
}

// lastAnswer tells the connection of a request that its answer is the last.
func lastAnswer(ctx context.Context) {
	if wire, ok := ctx.Value(wireKey{}).(*ratelimit.Conn); ok {
		if live, ok := wire.Conn.(*liveConn); ok {
			live.lastAnswer()
		}
	}
}

// cap puts the connection of a request under the node's cap from now on:
// agents fetch payloads over connections that carry nothing else.
func (n *Node) cap(ctx context.Context) {
	if wire, ok := ctx.Value(wireKey{}).(*ratelimit.Conn); ok {
		wire.Limit([]*ratelimit.Bucket{n.downloadCap}, []*ratelimit.Bucket{n.uploadCap})
	}
}
