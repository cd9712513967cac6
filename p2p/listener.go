package p2p

import (
	"context"
	"errors"
	"net"
	"time"

	"redflag/telemetry"
)

// maxHandshakes bounds the incoming connections that are not identified yet.
const maxHandshakes = 32

// listener hands identified connections to the library.
type listener struct {
	s     *Swarm
	ready chan *conn
}

// run accepts until the listener of the swarm is closed.
func (l *listener) run(ctx context.Context) {
	slots := make(chan struct{}, maxHandshakes)
	for {
		nc, err := l.s.cfg.Listener.Accept()
		if errors.Is(err, net.ErrClosed) || ctx.Err() != nil {
			if err == nil {
				_ = nc.Close()
			}
			return
		}
		if err != nil {
			l.s.log.Warn("accepting a peer failed", telemetry.KeyError, err)
			pause(ctx, time.Second) // as when descriptors run out
			continue
		}
		slots <- struct{}{}
		l.s.work.Go(func() {
			l.receive(ctx, nc)
			<-slots
		})
	}
}

func (l *listener) receive(ctx context.Context, nc net.Conn) {
	c, err := l.s.admit(ctx, nc)
	if err != nil {
		l.s.log.Debug("peer refused", "addr", nc.RemoteAddr().String(), telemetry.KeyError, err)
		return
	}
	select {
	case l.ready <- c:
	case <-ctx.Done():
		_ = c.Close()
	}
}

// Accept implements the library's Listener. It fails only once the swarm is
// closed: the library calls again at once after an error.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case <-l.s.client.Closed():
		return nil, net.ErrClosed
	}
}

// Addr implements the library's Listener.
func (l *listener) Addr() net.Addr { return addressOf(l.s.cfg.Self.ID) }

// pause waits for d or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
