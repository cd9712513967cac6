package p2p

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/hashicorp/go-hclog"

	"redflag/ratelimit"
)

// Config is what a swarm needs. All fields are required unless they say
// otherwise.
type Config struct {
	// Dir is the piece store. One swarm at a time may use it.
	Dir string
	// Self is the identity that this side's certificate has.
	Self Peer
	// Listener yields *tls.Conn, the handshake of which may be pending, over a
	// *ratelimit.Conn. The swarm closes it.
	Listener net.Listener
	// Dial returns the same kind of connection to a host:port.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Identify says who is at the other end, after the handshake. A connection
	// for which it returns an error is dropped.
	Identify func(net.Conn) (Peer, error)
	// Serves says whether a peer may fetch a payload from here. It is asked when
	// the peer connects, and now and then while it stays; it may block for a
	// while. Nil serves everybody.
	Serves func(ctx context.Context, peer Peer, infoHash string) bool
	// Upload and Download cap the connections of the swarm together; nil is
	// unlimited.
	Upload, Download *ratelimit.Bucket
	// SiteUpload and SiteDownload take their place on connections between
	// agents of one site: as the tracker says, else the same /24 or /64.
	SiteUpload, SiteDownload *ratelimit.Bucket
	// Corrupt is told of a piece that failed its hash, and of the peers that
	// had sent a part of it. It must not block; nil to not be told.
	Corrupt func(infoHash string, piece int, senders []string)
	// Banned, if not nil, is told once of each peer that was found to send
	// corrupt data. It must not block.
	Banned func(peerID string)
	Logger hclog.Logger
}

// Swarm fetches payloads from peers and serves them to peers. It is safe for
// concurrent use.
type Swarm struct {
	cfg    Config
	log    hclog.Logger
	book   *book
	store  *store
	client *torrent.Client

	patience atomic.Int64 // stallTime, or what a test has no time for

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup // goroutines of this package

	// ops makes opening and dropping of torrents one after the other. The
	// library is called with it held, never the other way round.
	ops sync.Mutex

	seedAll Announcer // of SeedAll; needs ops

	checked atomic.Int64 // bytes

	mu     sync.Mutex // a leaf
	shares map[metainfo.Hash]*share
	checks map[metainfo.Hash]*checking // that are not over yet
}

// New opens the store and gives what is complete in it. What is stamped, and as
// it was when it was stamped, is not hashed again; the rest is, while the swarm
// is at work already, and given as soon as it proves to be whole. Nothing is
// announced before Seed, SeedAll or Fetch.
func New(cfg Config) (*Swarm, error) {
	s := &Swarm{
		cfg:    cfg,
		log:    cfg.Logger.Named("p2p"),
		book:   newBook(),
		shares: make(map[metainfo.Hash]*share),
		checks: make(map[metainfo.Hash]*checking),
	}
	var err error
	if s.store, err = openStore(cfg.Dir, s.onBadInfo); err != nil {
		return nil, err
	}
	whole, doubtful, err := s.store.complete()
	if err != nil {
		return nil, err
	}
	if s.client, err = torrent.NewClient(s.clientConfig()); err != nil {
		_ = s.store.Close()
		return nil, fmt.Errorf("open swarm: %w", err)
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	for _, h := range whole {
		s.open(h, s.store.get(h))
	}
	s.checkLater(doubtful)
	s.patience.Store(int64(stallTime))
	l := &listener{s: s, ready: make(chan *conn)}
	s.client.AddDialer(dialer{s})
	s.client.AddListener(l)
	s.work.Go(func() { l.run(s.ctx) })
	s.work.Go(func() { s.watchPeers(s.ctx) })
	if cfg.Serves != nil {
		s.work.Go(func() { s.watchServed(s.ctx) })
	}
	if cfg.Self.Node {
		s.work.Go(func() { s.keepPlans(s.ctx) })
	}
	return s, nil
}

// Close ends all transfers and connections. What was fetched stays on disk.
func (s *Swarm) Close() error {
	s.stop()
	err := s.cfg.Listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	s.endChecks()
	s.ops.Lock()
	defer s.ops.Unlock()
	for _, sh := range s.all() {
		sh.halt()
	}
	s.client.Close()
	_ = s.store.Close()
	s.work.Wait()
	if err != nil {
		return fmt.Errorf("close swarm: %w", err)
	}
	return nil
}

func (s *Swarm) share(h metainfo.Hash) *share {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shares[h]
}

func (s *Swarm) all() []*share {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.shares))
}

// Import moves a complete file into the store and seeds it from now on. The
// file is renamed: it must be on the same file system as Dir. The caller
// vouches that t was made from it. If the payload is there already, the file
// is removed.
func (s *Swarm) Import(t Torrent, path string) error {
	hash, err := t.check()
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("import: %w", err)
	}
	if !st.Mode().IsRegular() || st.Size() != t.Length {
		return fmt.Errorf("import %s: %w: not a file of %d bytes", path, ErrInvalid, t.Length)
	}
	if err := s.settle(s.ctx, hash, true); err != nil {
		return ErrClosed
	}
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	if sh := s.share(hash); sh != nil {
		if !sh.payload.isComplete() {
			return fmt.Errorf("import %s: %w", t.InfoHash, ErrBusy)
		}
		return os.Remove(path)
	}
	p, err := s.store.adopt(hash, t, path)
	if err != nil {
		return err
	}
	s.open(hash, p)
	s.log.Info("payload imported", keyInfoHash, t.InfoHash, "bytes", t.Length)
	return nil
}

// Seed announces a complete payload from now on, in place of the announcer
// that it may have had. The error is ErrNotComplete if there is none.
func (s *Swarm) Seed(infoHash string, announce Announcer) error {
	hash, err := parseHash(infoHash)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	sh := s.share(hash)
	if sh == nil || !sh.payload.isComplete() {
		return fmt.Errorf("seed %s: %w", infoHash, ErrNotComplete)
	}
	sh.halt()
	s.announce(s.ctx, sh, announce)
	return nil
}

// SeedAll announces every complete payload from now on, and those that are
// still being checked as soon as they prove to be complete.
func (s *Swarm) SeedAll(announce Announcer) error {
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	s.seedAll = announce
	for _, sh := range s.all() {
		if sh.payload.isComplete() {
			sh.halt()
			s.announce(s.ctx, sh, announce)
		}
	}
	return nil
}

// Has reports whether a payload is complete in the store.
func (s *Swarm) Has(infoHash string) bool {
	hash, err := parseHash(infoHash)
	if err != nil {
		return false
	}
	sh := s.share(hash)
	return sh != nil && sh.payload.isComplete()
}

// Complete returns the info hashes of the complete payloads, in no order.
func (s *Swarm) Complete() []string {
	var found []string
	for _, sh := range s.all() {
		if sh.payload.isComplete() {
			found = append(found, sh.hex)
		}
	}
	return found
}

// Unfinished returns the info hashes of payloads in the store that are neither
// complete nor being fetched, and were last written before a time.
func (s *Swarm) Unfinished(before time.Time) []string {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return nil
	}
	var found []string
	for _, entry := range entries {
		hash, err := parseHash(entry.Name())
		if err != nil || s.share(hash) != nil {
			continue
		}
		st, err := os.Stat(filepath.Join(s.cfg.Dir, entry.Name(), fileData))
		if err == nil && st.ModTime().Before(before) {
			found = append(found, entry.Name())
		}
	}
	return found
}

// Kept returns how many bytes of a payload an earlier Fetch has left on disk: for
// those the next one takes no more room.
func (s *Swarm) Kept(spec FetchSpec) (bytes int64) {
	hash, err := parseHash(spec.InfoHash)
	if err != nil || checkDimensions(spec.Length, spec.PieceLength) != nil {
		return 0
	}
	p := newPayload(s.store.dir(hash), spec.Length, spec.PieceLength)
	stored, _ := p.storedBits()
	for _, b := range stored {
		bytes += int64(bits.OnesCount8(b)) * spec.PieceLength
	}
	return min(bytes, spec.Length)
}

// Open opens a complete payload to read. The caller closes it and verifies
// what it reads: the store may have changed since the pieces were verified.
func (s *Swarm) Open(infoHash string) (*os.File, error) {
	if !s.Has(infoHash) {
		return nil, fmt.Errorf("open payload %s: %w", infoHash, ErrNotComplete)
	}
	f, err := os.Open(filepath.Join(s.cfg.Dir, infoHash, fileData))
	if err != nil {
		return nil, diskError("open payload", err)
	}
	return f, nil
}

// Use notes that a complete payload was of use. The note outlives the process:
// it is the modification time of a file that does not change.
func (s *Swarm) Use(infoHash string, at time.Time) error {
	if !s.Has(infoHash) {
		return fmt.Errorf("use payload %s: %w", infoHash, ErrNotComplete)
	}
	return diskError("note use", os.Chtimes(filepath.Join(s.cfg.Dir, infoHash, fileInfo), at, at))
}

// LastUse returns when a payload was fetched, imported or of use last; the zero
// time if it is not there.
func (s *Swarm) LastUse(infoHash string) time.Time {
	if !s.Has(infoHash) {
		return time.Time{}
	}
	st, err := os.Stat(filepath.Join(s.cfg.Dir, infoHash, fileInfo))
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

// Remove stops sharing a payload and deletes it. A Fetch of it ends with
// ErrClosed. Removing what is not there is no error.
func (s *Swarm) Remove(infoHash string) error {
	hash, err := parseHash(infoHash)
	if err != nil {
		return fmt.Errorf("remove: %w", err)
	}
	if err := s.settle(s.ctx, hash, true); err != nil {
		return ErrClosed
	}
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	if sh := s.share(hash); sh != nil {
		s.drop(sh)
	}
	return s.store.remove(hash)
}

// reportBans tells of each peer once that the library has banned: it sent
// blocks that differ from the verified ones.
func (s *Swarm) reportBans() {
	for _, ip := range s.client.BadPeerIPs() {
		addr := net.JoinHostPort(ip, strconv.Itoa(swarmPort))
		if id, news := s.book.ban(addr); news {
			s.log.Warn("peer banned: it sends corrupt data", keyPeer, id)
			if s.cfg.Banned != nil {
				s.cfg.Banned(id)
			}
		}
	}
}
