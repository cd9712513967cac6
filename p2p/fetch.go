package p2p

import (
	"context"
	"fmt"
	"time"

	"github.com/anacrolix/torrent/metainfo"

	"redflag/api"
	"redflag/telemetry"
)

// progressEvery is the time between two calls of a Fetch's progress.
const progressEvery = 500 * time.Millisecond

// FetchSpec says what to fetch. The dimensions come from the signed target;
// what peers say about them must agree.
type FetchSpec struct {
	InfoHash    string // lower-case hex
	Length      int64  // bytes
	PieceLength int64  // bytes
	Announce    Announcer
	// Fallback helps a swarm that is too slow; nil for none.
	Fallback *Fallback
}

// Fetch blocks until every piece is verified and on disk, and returns where
// the bytes came from. The payload is seeded and announced afterwards, until
// Remove or Close. progress, if not nil, is called now and then, and at the
// end, from the calling goroutine.
//
// When ctx ends the download stops, and what was fetched stays on disk for the
// next call. Calls for the same payload join; the first one's announcer
// counts. Errors are ErrDisk, ErrInfoMismatch, ErrInvalid, ErrClosed and those
// of ctx; without peers or tracker it waits.
func (s *Swarm) Fetch(ctx context.Context, spec FetchSpec, progress func(api.Transfer)) (api.Transfer, error) {
	sh, err := s.join(ctx, spec)
	if err != nil {
		return api.Transfer{}, fmt.Errorf("fetch %s: %w", spec.InfoHash, err)
	}
	defer s.leave(sh)
	if progress == nil {
		progress = func(api.Transfer) {}
	}
	stop := sh.fallBack(ctx, spec.Fallback)
	err = sh.wait(ctx, progress)
	stop()
	got := sh.stats().Transfer
	progress(got)
	if err != nil {
		return got, fmt.Errorf("fetch %s: %w", spec.InfoHash, err)
	}
	telemetry.For(ctx, s.log).Info("payload fetched", keyInfoHash, sh.hex, "bytes", got.Total,
		"from_peers", got.FromPeers, "from_nodes", got.FromNodes, "from_fallback", got.FromFallback)
	return got, nil
}

// fallBack starts what f asks for. The share stays open until stop has
// returned.
func (sh *share) fallBack(ctx context.Context, f *Fallback) (stop func()) {
	if f == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		(&falling{sh: sh, f: f}).run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func (sh *share) wait(ctx context.Context, progress func(api.Transfer)) error {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		select {
		case <-sh.payload.complete:
			return nil
		case <-sh.payload.broken:
			return sh.payload.failure()
		case <-sh.spoiled:
			sh.s.reopen(sh)
		case <-sh.gone:
			return ErrClosed
		case <-sh.s.ctx.Done():
			return ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
			progress(sh.stats().Transfer)
		}
	}
}

// join returns the share of a payload with one more waiter, and opens it if it
// is not open.
func (s *Swarm) join(ctx context.Context, spec FetchSpec) (*share, error) {
	hash, err := parseHash(spec.InfoHash)
	if err != nil {
		return nil, err
	}
	if err := checkDimensions(spec.Length, spec.PieceLength); err != nil {
		return nil, err
	}
	if err := s.settle(ctx, hash, false); err != nil {
		return nil, err
	}
	s.ops.Lock()
	defer s.ops.Unlock()
	if s.ctx.Err() != nil {
		return nil, ErrClosed
	}
	sh, err := s.obtain(hash, spec)
	if err != nil {
		return nil, err
	}
	sh.waiters++
	if sh.cancel == nil {
		s.announce(ctx, sh, spec.Announce)
	}
	return sh, nil
}

func (s *Swarm) obtain(hash metainfo.Hash, spec FetchSpec) (*share, error) {
	if sh := s.share(hash); sh != nil {
		if sh.payload.length != spec.Length || sh.payload.pieceLength != spec.PieceLength {
			return nil, ErrInfoMismatch
		}
		return sh, nil
	}
	p, err := s.store.prepare(hash, spec.Length, spec.PieceLength)
	if err != nil {
		return nil, err
	}
	return s.open(hash, p), nil
}

// leave ends a call of Fetch. The last one takes an unfinished download down.
func (s *Swarm) leave(sh *share) {
	s.ops.Lock()
	defer s.ops.Unlock()
	sh.waiters--
	if sh.waiters > 0 || s.ctx.Err() != nil || s.share(sh.hash) != sh {
		return
	}
	if !sh.payload.isComplete() || sh.payload.failure() != nil {
		s.drop(sh)
	}
}
