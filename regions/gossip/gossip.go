package gossip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"

	"redflag/api"
)

// resolveTimeout bounds the look-up of a mesh address's host name.
const resolveTimeout = 10 * time.Second

// Config is what a member of the gossip is started with.
type Config struct {
	// Self describes this node. Its MeshAddr is what the others dial; Alive is
	// not looked at.
	Self Member
	// Listener yields authenticated streams from other nodes. It belongs to
	// Start, which closes it, also when it fails.
	Listener net.Listener
	// Dial opens an authenticated stream to the node at a mesh address.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Logger gets memberlist's lines too.
	Logger hclog.Logger
}

// Gossip is this node's membership. It is safe for concurrent use.
type Gossip struct {
	self     string // mesh address
	list     *memberlist.Memberlist
	members  *members
	delegate *delegate
	places   *positions

	mu     sync.Mutex // SetLoad, Leave and Close exclude each other
	me     Member
	closed bool
}

// Start makes this node a member of a cluster of one. Join finds the others.
func Start(cfg Config) (*Gossip, error) { return start(cfg, profile()) }

func start(cfg Config, conf *memberlist.Config) (*Gossip, error) {
	g, err := create(cfg, conf)
	if err != nil {
		_ = cfg.Listener.Close()
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	return g, nil
}

func create(cfg Config, conf *memberlist.Config) (*Gossip, error) {
	if err := api.CheckID("node id", cfg.Self.ID); err != nil {
		return nil, err
	}
	meta, err := encodeMeta(cfg.Self)
	if err != nil {
		return nil, err
	}
	addrs, err := resolve(cfg.Self.MeshAddr)
	if err != nil {
		return nil, err
	}
	places, err := newPositions()
	if err != nil {
		return nil, err
	}
	known := newMembers(conf.GossipToTheDeadTime, places)
	t := newTransport(cfg, addrs[0], known.route)

	conf.Name = cfg.Self.ID
	conf.Transport = t
	conf.BindPort = int(addrs[0].Port())
	self := &delegate{}
	self.meta.Store(&meta)
	conf.Delegate = self
	conf.Ping = places
	conf.Events = known
	conf.Alive = known
	conf.Logger = adapt(cfg.Logger)
	list, err := memberlist.Create(conf)
	if err != nil {
		return nil, errors.Join(err, t.Shutdown())
	}
	return &Gossip{self: cfg.Self.MeshAddr, list: list, members: known, delegate: self, places: places, me: cfg.Self}, nil
}

// Join exchanges the membership with the nodes at addrs and returns how many
// answered; this node's own address is skipped. The error is nil if one did.
//
// Members that were cut off for longer than memberlist remembers the dead do
// not look for each other again: the caller repeats Join for the nodes that it
// knows of and Members does not show alive.
func (g *Gossip) Join(addrs []string) (int, error) {
	var (
		joined int
		errs   []error
	)
	for _, addr := range addrs {
		if addr == g.self {
			continue
		}
		if err := g.joinOne(addr); err != nil {
			errs = append(errs, fmt.Errorf("join %s: %w", addr, err))
			continue
		}
		joined++
	}
	if joined > 0 {
		return joined, nil
	}
	return 0, errors.Join(errs...)
}

func (g *Gossip) joinOne(addr string) error {
	// Resolved here: memberlist's own resolver asks the first name server for
	// ANY over TCP, which few answer.
	ips, err := resolve(addr)
	if err != nil {
		return err
	}
	for _, ip := range ips {
		if _, err = g.list.Join([]string{ip.String()}); err == nil {
			return nil
		}
	}
	if first := errors.Unwrap(err); first != nil {
		return first // out of a list of one, which prints on three lines
	}
	return err
}

// Members returns all nodes that are known, this one too, sorted by id. A node
// that died or left stays with Alive false until memberlist forgets it.
func (g *Gossip) Members() []Member { return g.members.list() }

// Distances returns the estimated round trip from the node with an id to each
// other node that both have been placed by their pings.
func (g *Gossip) Distances(id string) map[string]time.Duration {
	if id == g.list.LocalNode().Name {
		id = ""
	}
	return g.places.distances(id)
}

// loadStep is the least change of the load that is worth telling, in percent.
const loadStep = 5

// SetLoad tells the others which share of its poll budget this node uses, in
// percent. Small changes are kept to itself.
func (g *Gossip) SetLoad(percent int) error {
	percent = min(max(0, percent), maxLoad)
	g.mu.Lock()
	defer g.mu.Unlock()
	if d := percent - g.me.Load; g.closed || max(d, -d) < loadStep {
		return nil
	}
	now := g.me
	now.Load = percent
	meta, err := encodeMeta(now)
	if err != nil {
		return err
	}
	g.me = now
	g.delegate.meta.Store(&meta)
	// It fails only if no other node has heard of it yet; with no time at all it would
	// wait for that for ever.
	_ = g.list.UpdateNode(time.Nanosecond)
	return nil
}

// Leave tells the others that this node goes, so that they need not find out.
// It waits until that was sent, at most timeout. The node gossips on until
// Close.
func (g *Gossip) Leave(timeout time.Duration) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	if err := g.list.Leave(max(timeout, time.Millisecond)); err != nil { // zero would wait for ever
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}

// Close ends the gossip without a word: to the others this node has died,
// unless it left before. It may be called again.
func (g *Gossip) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	if err := g.list.Shutdown(); err != nil {
		return fmt.Errorf("close gossip: %w", err)
	}
	return nil
}

// resolve turns host:port into at least one IP address and port.
func resolve(addr string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("mesh address: %w", err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return nil, fmt.Errorf("mesh address %q has no valid port", addr)
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("resolve mesh address: %w", err)
	}
	out := make([]netip.AddrPort, len(ips))
	for i, ip := range ips {
		out[i] = netip.AddrPortFrom(ip.Unmap(), uint16(number))
	}
	return out, nil
}
