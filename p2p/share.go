package p2p

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"

	"redflag/p2p/plan"
)

// share is this machine's part in the swarm of one payload.
type share struct {
	s        *Swarm
	hash     metainfo.Hash
	hex      string
	payload  *payload
	ledger   *ledger
	infoSize int           // of the info dictionary, bytes
	infoFrom atomic.Value  // string: made-up address of who sent a part of it last
	gone     chan struct{} // closed when the share is dropped
	spoiled  chan struct{} // gets one when a false info dictionary came

	torrent atomic.Pointer[torrent.Torrent] // set once, soon after the share is visible

	begun   []atomic.Bool // by piece: a block of it came
	asks    asks
	stalls  stalls
	manners manners
	planMu  sync.Mutex   // a leaf
	plan    *plan.Offers // nil until an agent asks a node

	// What follows needs Swarm.ops.
	waiters  int           // calls of Fetch
	withheld bool          // it is complete and not given to others
	resume   func()        // announces again as before
	cancel   func()        // ends the announcing, nil if there is none
	finished chan struct{} // closed when the announcing has ended
}

var _ pieceWatcher = (*share)(nil)

// open adds a payload to the library. It needs ops.
func (s *Swarm) open(h metainfo.Hash, p *payload) *share {
	sh := &share{
		s:        s,
		hash:     h,
		hex:      h.HexString(),
		payload:  p,
		ledger:   newLedger(s.cfg.Self),
		begun:    make([]atomic.Bool, p.pieces),
		infoSize: infoSize(p.length, p.pieceLength),
		gone:     make(chan struct{}),
		spoiled:  make(chan struct{}, 1),
	}
	sh.asks.pieces, sh.asks.blocks = p.pieces, int((p.length+blockSize-1)/blockSize)
	sh.asks.got = int(p.done() / blockSize)
	p.watch = sh
	s.mu.Lock()
	s.shares[h] = sh // before the library knows it: callbacks look here
	s.mu.Unlock()

	sh.enter()
	return sh
}

// enter makes the library take part.
func (sh *share) enter() {
	t, _ := sh.s.client.AddTorrentOpt(torrent.AddTorrentOpts{
		InfoHash:                 sh.hash,
		InfoBytes:                sh.payload.infoBytes(),
		DisableInitialPieceCheck: true,
	})
	// The store has noted the cause. Without a handler the library would only
	// stop asking for data and say nothing.
	t.SetOnWriteChunkError(func(error) { t.DisallowDataDownload() })
	sh.torrent.Store(t)
}

// reopen takes part anew. A torrent of v1.61.0 that was once offered a false
// info dictionary takes no other any more.
func (s *Swarm) reopen(sh *share) {
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.ctx.Err() != nil || s.share(sh.hash) != sh {
		return
	}
	sh.halt()
	sh.torrent.Load().Drop()
	sh.enter()
	sh.resume()
}

// drop takes a payload out of the library and leaves it on disk. It needs ops.
func (s *Swarm) drop(sh *share) {
	sh.halt()
	sh.torrent.Load().Drop()
	s.mu.Lock()
	delete(s.shares, sh.hash)
	s.mu.Unlock()
	s.store.forget(sh.hash)
	close(sh.gone)
}

// Give says whether a complete payload is given to others, and reports whether
// that is a change. One that is not stays on disk, is not announced, and peers
// that ask for it get nothing.
func (s *Swarm) Give(infoHash string, gives bool) (changed bool, err error) {
	hash, err := parseHash(infoHash)
	if err != nil {
		return false, fmt.Errorf("give: %w", err)
	}
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.ctx.Err() != nil {
		return false, ErrClosed
	}
	sh := s.share(hash)
	if sh == nil || !sh.payload.isComplete() {
		return false, fmt.Errorf("give %s: %w", infoHash, ErrNotComplete)
	}
	changed = sh.withheld == gives
	sh.withheld = !gives
	switch {
	case !gives:
		sh.halt() // a Fetch may have begun to announce again
		if changed {
			sh.torrent.Load().DisallowDataUpload()
		}
	case changed:
		sh.torrent.Load().AllowDataUpload()
		if sh.resume != nil && sh.cancel == nil {
			sh.resume()
		}
	}
	return changed, nil
}

// halt ends the announcing and waits for that. It needs ops.
func (sh *share) halt() {
	if sh.cancel != nil {
		sh.cancel()
		<-sh.finished
		sh.cancel = nil
	}
}

// announce starts to announce the share. It needs ops. The values of ctx are
// kept, its end is not.
func (s *Swarm) announce(ctx context.Context, sh *share, call Announcer) {
	sh.resume = func() { s.announce(ctx, sh, call) }
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	sh.cancel = cancel
	finished := make(chan struct{})
	sh.finished = finished
	s.work.Go(func() {
		defer close(finished)
		(&announcing{sh: sh, call: call}).run(running)
	})
}

// pieceBegun implements pieceWatcher. What was begun is ended first while there
// is one peer: what is not whole is lost when the machine dies, and the library
// would go by chance. With more peers it would ask the others for the same blocks,
// as is due to what comes first, and many would come twice. Its lock is not held
// here.
func (sh *share) pieceBegun(index int) {
	t := sh.torrent.Load()
	if t == nil || sh.begun[index].Swap(true) || t.Stats().ActivePeers > 1 {
		return
	}
	t.Piece(index).SetPriority(torrent.PiecePriorityNext)
}

// pieceVerified implements pieceWatcher.
func (sh *share) pieceVerified(index int) { sh.ledger.verified(index) }

// pieceCorrupt implements pieceWatcher. The library's lock is not held.
func (sh *share) pieceCorrupt(index int) {
	senders, suspect := sh.ledger.corrupt(index)
	if len(senders) == 0 {
		return
	}
	sh.s.log.Warn("piece failed its hash", keyInfoHash, sh.hex, keyPiece, index, keyPeers, senders)
	if sh.s.cfg.Corrupt != nil {
		sh.s.cfg.Corrupt(sh.hex, index, senders)
	}
	if suspect != "" {
		sh.setAside(suspect)
	}
}

// servedTick is how often peers are looked at that may not be served any more.
const servedTick = 2 * time.Second

func (s *Swarm) serves(peer Peer, h metainfo.Hash) bool {
	return s.cfg.Serves == nil || s.cfg.Serves(s.ctx, peer, h.HexString())
}

// watchServed ends the connections of peers that may not fetch from here any
// more, until ctx ends.
func (s *Swarm) watchServed(ctx context.Context) {
	ticker := time.NewTicker(servedTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, sh := range s.all() {
			t := sh.torrent.Load()
			if t == nil {
				continue // it is being opened
			}
			for _, c := range t.PeerConns() {
				if peer, ok := s.book.peer(c.RemoteAddr.String()); ok && !s.serves(peer, sh.hash) {
					_ = c.Close()
				}
			}
		}
	}
}

// setAside parts from a peer until its probation is over.
func (sh *share) setAside(id string) {
	sh.s.log.Info("peer set aside: pieces fail that it had a hand in", keyInfoHash, sh.hex, keyPeer, id)
	sh.part(id, probation)
}

// part ends the connections to a peer and refuses it for d.
func (sh *share) part(id string, d time.Duration) {
	sh.s.book.refuse(id, d)
	addr := addressOf(id).String()
	for _, c := range sh.torrent.Load().PeerConns() {
		if c.RemoteAddr.String() == addr {
			_ = c.Close()
		}
	}
}
