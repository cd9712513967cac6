package plain

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/ratelimit"
)

const (
	// greetingTimeout bounds how long a stranger may take to say what it wants.
	greetingTimeout = 10 * time.Second
	// answerTimeout bounds an exchange with the tracker.
	answerTimeout = time.Minute
	// maxHeader bounds a tracker request in bytes, as net/http counts them.
	maxHeader = 4 << 10
)

// Payload is a whole payload to read. Its owner closes it.
type Payload struct {
	Length      int64 // bytes
	PieceLength int64 // bytes
	Data        interface {
		io.ReaderAt
		io.Closer
	}
}

// Payloads is what there is to give, by info hash in lower-case hex.
type Payloads interface {
	// Has reports whether a payload is here and whole.
	Has(infoHash string) bool
	// Open opens one. An error means that it is not given.
	Open(infoHash string) (Payload, error)
}

// Config is what a server needs.
type Config struct {
	Payloads Payloads
	// Upload and Download cap all connections together; nil is unlimited.
	Upload, Download *ratelimit.Bucket
	Logger           hclog.Logger
}

// Server is a seed and a tracker. It is safe for concurrent use.
type Server struct {
	cfg    Config
	log    hclog.Logger
	peerID [20]byte
	gate   gate
	table  table
	stats  counters
}

type counters struct {
	peers              atomic.Int64
	sent               atomic.Int64
	announces, refused atomic.Int64
}

// Stats is what a server has done since it was made.
type Stats struct {
	Peers     int64 // connected now
	Listed    int   // known to the tracker now
	Sent      int64 // payload, bytes
	Announces int64 // answered with peers
	Refused   int64 // connections and announces
}

// New returns a server that does nothing until Serve.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, log: cfg.Logger.Named("plain")}
	_, _ = rand.Read(s.peerID[:]) // never fails; it aborts the program
	copy(s.peerID[:], "-RF0001-") // BEP 20
	return s
}

// Stats returns what the server has done.
func (s *Server) Stats() Stats {
	return Stats{
		Peers: s.stats.peers.Load(), Listed: s.table.size(), Sent: s.stats.sent.Load(),
		Announces: s.stats.announces.Load(), Refused: s.stats.refused.Load(),
	}
}

// Serve answers on ln until ctx ends. Then it closes ln and every connection,
// and forgets who was there. It returns an error only if ln breaks.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer s.table.clear()
	var work sync.WaitGroup
	defer work.Wait()
	defer cancel() // ends what runs before it is waited for

	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	requests := &handed{addr: ln.Addr(), conns: make(chan net.Conn), done: ctx.Done()}
	srv := s.tracker()
	work.Go(func() { _ = srv.Serve(requests) }) // it ends with requests
	for {
		c, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if ne := net.Error(nil); errors.As(err, &ne) && !errors.Is(err, net.ErrClosed) { // out of descriptors, most likely
				s.log.Warn("accepting a connection failed", "error", err)
				pause(ctx)
				continue
			}
			return err
		}
		from := addrOf(c.RemoteAddr())
		if !s.gate.enter(from, time.Now()) {
			s.refuse(c, "too many connections from there, or in all")
			continue
		}
		work.Go(func() {
			defer s.gate.leave(from)
			s.receive(ctx, c, requests)
		})
	}
}

// pause keeps a listener that fails from being asked at once again.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// refuse closes a connection and says why where an operator may look.
func (s *Server) refuse(c net.Conn, why string) {
	s.stats.refused.Add(1)
	s.log.Debug("plain connection refused", "remote", c.RemoteAddr().String(), "reason", why)
	_ = c.Close()
}

// receive puts a connection under the caps, finds out what it speaks and stays
// until it is closed.
func (s *Server) receive(ctx context.Context, raw net.Conn, requests *handed) {
	wire := ratelimit.NewConn(raw)
	wire.Limit(chain(s.cfg.Download), chain(s.cfg.Upload))
	stop := context.AfterFunc(ctx, func() { _ = wire.Close() })
	defer stop()
	defer func() { _ = wire.Close() }()
	_ = wire.SetReadDeadline(time.Now().Add(greetingTimeout))
	r := bufio.NewReaderSize(wire, maxMessage)
	first, err := r.Peek(4)
	switch {
	case err != nil:
		s.refuse(wire, "it said nothing")
	case string(first) == greeting[:4]:
		s.seed(wire, r)
	case string(first) == "GET ":
		c := &buffered{Conn: wire, r: r, closed: make(chan struct{})}
		if requests.hand(c) {
			<-c.closed
		}
	default: // among them obfuscated streams (MSE); clients then try without
		s.refuse(wire, "it speaks neither BitTorrent nor HTTP")
	}
}

func chain(b *ratelimit.Bucket) []*ratelimit.Bucket {
	if b == nil {
		return nil
	}
	return []*ratelimit.Bucket{b}
}

func addrOf(a net.Addr) netip.Addr {
	at, _ := netip.ParseAddrPort(a.String())
	return at.Addr().Unmap().WithZone("")
}

// tracker answers announces, one a connection.
func (s *Server) tracker() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /announce", s.announce)
	srv := &http.Server{
		Handler: mux, ReadTimeout: greetingTimeout, WriteTimeout: answerTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug}),
	}
	srv.SetKeepAlivesEnabled(false)
	return srv
}

// handed is a listener of the connections that speak HTTP.
type handed struct {
	addr  net.Addr
	conns chan net.Conn
	done  <-chan struct{}
}

func (h *handed) hand(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

// Accept implements net.Listener.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The end of Serve is what closes it.
func (h *handed) Close() error { return nil }

// Addr implements net.Listener.
func (h *handed) Addr() net.Addr { return h.addr }

// buffered is a connection of which the first bytes were looked at.
type buffered struct {
	net.Conn
	r      *bufio.Reader
	once   sync.Once
	closed chan struct{}
}

// Read implements net.Conn.
func (b *buffered) Read(p []byte) (int, error) { return b.r.Read(p) }

// Close implements net.Conn.
func (b *buffered) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Conn.Close()
}
