package node

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"redflag/api"
	"redflag/p2p/plain"
	"redflag/telemetry"
)

const (
	// plainPause is how long a node waits before it tries again to listen, and
	// plainLook how often it looks at the setting.
	plainPause = 5 * time.Second
	plainLook  = 200 * time.Millisecond
)

// plainMode gives payloads to standard BitTorrent clients while the setting
// swarm.plain is on, on a node with --plain-listen.
type plainMode struct {
	server *plain.Server
	addr   atomic.Pointer[string] // host:port as clients dial it; nil while off
}

func (n *Node) newPlainMode() *plainMode {
	return &plainMode{server: plain.New(plain.Config{
		Payloads: plainPayloads{n}, Upload: n.uploadCap, Download: n.downloadCap, Logger: n.log,
	})}
}

// announceURL is the tracker's; empty while the mode is off here.
func (p *plainMode) announceURL() string {
	if addr := p.addr.Load(); addr != nil {
		return "http://" + *addr + "/announce"
	}
	return ""
}

// wantsPlain reports whether the mode is to be on here. A node that has not
// heard of the others since its start does not know: it may have been off since.
func (n *Node) wantsPlain() bool {
	on := n.plain.addr.Load() != nil
	return n.settings().Bool(api.SettingSwarmPlain) && (on || n.cluster.Stale() <= maxStale)
}

// servePlain turns the mode on and off until ctx ends.
func (n *Node) servePlain(ctx context.Context) error {
	if n.cfg.PlainListen == "" {
		return nil
	}
	for {
		wait := plainLook
		if n.wantsPlain() {
			if err := n.plainUntilOff(ctx); err != nil {
				n.log.Warn("plain mode does not serve", telemetry.KeyError, err)
				wait = plainPause
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// plainUntilOff serves until the setting is off or ctx ends.
func (n *Node) plainUntilOff(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", n.cfg.PlainListen)
	if err != nil {
		return err
	}
	addr := n.reachable(ln.Addr())
	n.plain.addr.Store(&addr)
	defer n.plain.addr.Store(nil)
	n.log.Warn("plain mode is on: payloads go to whoever asks, without TLS", "addr", addr)
	defer n.log.Info("plain mode is off")
	served := make(chan error, 1)
	go func() { served <- n.plain.server.Serve(ctx, ln) }()
	for {
		select {
		case err := <-served:
			return err
		case <-time.After(plainLook):
			if !n.wantsPlain() {
				cancel()
			}
		}
	}
}

// plainPayloads lets plain peers read what this node has whole, and no more.
type plainPayloads struct{ n *Node }

// Has implements plain.Payloads.
func (p plainPayloads) Has(infoHash string) bool {
	return p.n.swarm.Has(infoHash) && p.n.payloads.wanted(infoHash)
}

// Open implements plain.Payloads.
func (p plainPayloads) Open(infoHash string) (plain.Payload, error) {
	if !p.Has(infoHash) {
		return plain.Payload{}, errors.New("this payload is not here")
	}
	f, err := p.n.swarm.Open(infoHash)
	if err != nil {
		return plain.Payload{}, err
	}
	a := p.n.payloads.artifact(infoHash)
	return plain.Payload{Length: a.Length, PieceLength: a.PieceLength, Data: f}, nil
}
