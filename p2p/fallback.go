package p2p

import (
	"context"
	"crypto/sha1" //nolint:gosec // BEP 3 names it; what is installed is checked by SHA-256
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/metainfo"

	"redflag/api"
	"redflag/telemetry"
)

// Source serves what the swarm does not: a node, asked over HTTPS. What it says
// is verified as what a peer says.
type Source interface {
	// Info returns the info dictionary of a payload, of at most limit bytes.
	Info(ctx context.Context, infoHash string, limit int64) ([]byte, error)
	// Range fills b with the payload's bytes from at on.
	Range(ctx context.Context, infoHash string, at int64, b []byte) error
}

// Fallback says when a Fetch turns to a Source. The swarm stays open all the
// while, and as soon as it is fast enough again it has the download to itself.
type Fallback struct {
	Source Source
	// Limits returns how long the swarm may be slower than least; zero is for
	// ever. It is asked again and again, because settings change.
	Limits func() (patience time.Duration, least api.Rate)
}

const (
	// fallbackTick is how often the swarm's pace is looked at.
	fallbackTick = 500 * time.Millisecond
	// rangeSize is what is asked of a source at once, in bytes.
	rangeSize = 1 << 20
	// A source that fails is asked again after sourceRetry, doubling up to
	// sourceLast.
	sourceRetry = time.Second
	sourceLast  = 30 * time.Second
	// verifyPatience bounds the wait for the hash of a piece.
	verifyPatience = 10 * time.Second
	markTick       = 2 * time.Millisecond
)

// falling is the fallback of one Fetch at work.
type falling struct {
	sh       *share
	f        *Fallback
	pace     pace
	active   bool // the source is in use
	failures int
}

// run fetches from the source while the swarm is too slow, until ctx ends.
func (g *falling) run(ctx context.Context) {
	for ctx.Err() == nil && !g.sh.payload.isComplete() {
		patience, least := g.f.Limits()
		slow := patience > 0 && g.pace.slow(time.Now(), g.sh.received(), patience, least)
		g.tell(ctx, slow)
		if !slow {
			pause(ctx, fallbackTick)
			continue
		}
		if err := g.piece(ctx); err != nil && ctx.Err() == nil {
			delay := min(sourceRetry<<min(g.failures, 10), sourceLast)
			g.failures++
			telemetry.For(ctx, g.sh.s.log).Warn("piece not fetched from a node", keyInfoHash, g.sh.hex, telemetry.KeyError, err)
			pause(ctx, jitter(delay))
			continue
		}
		g.failures = 0
	}
}

// tell logs when the source comes into use and when the swarm works again.
func (g *falling) tell(ctx context.Context, slow bool) {
	if slow == g.active {
		return
	}
	g.active = slow
	log := telemetry.For(ctx, g.sh.s.log).With(keyInfoHash, g.sh.hex, "done", g.sh.payload.done())
	if slow {
		log.Info("the swarm is too slow, a node is asked besides")
	} else {
		log.Info("the swarm works again")
	}
}

// piece fetches one piece that is missing.
func (g *falling) piece(ctx context.Context) error {
	t := g.sh.torrent.Load()
	if t.Info() == nil {
		return g.info(ctx, t)
	}
	i := g.sh.missing(t)
	if i < 0 {
		pause(ctx, fallbackTick) // the last ones are being verified
		return nil
	}
	p := g.sh.payload
	b := make([]byte, min(p.pieceLength, p.length-int64(i)*p.pieceLength))
	for at := 0; at < len(b); at += rangeSize {
		part := b[at:min(at+rangeSize, len(b))]
		if err := g.f.Source.Range(ctx, g.sh.hex, int64(i)*p.pieceLength+int64(at), part); err != nil {
			return err
		}
	}
	l, err := parseInfo(p.infoBytes())
	if err != nil {
		return err
	}
	if sum := sha1.Sum(b); string(sum[:]) != string(l.hashes[i*hashSize:(i+1)*hashSize]) { //nolint:gosec // as above
		g.sh.ledger.spoiled(int64(len(b)))
		return fmt.Errorf("piece %d: %w", i, errBadPiece)
	}
	return g.sh.keep(ctx, i, b)
}

// info takes the info dictionary from the source, where no peer has sent it.
func (g *falling) info(ctx context.Context, t *torrent.Torrent) error {
	b, err := g.f.Source.Info(ctx, g.sh.hex, int64(g.sh.infoSize))
	if err != nil {
		return err
	}
	if metainfo.HashBytes(b) != g.sh.hash {
		return errBadInfo
	}
	g.sh.s.ops.Lock()
	defer g.sh.s.ops.Unlock()
	if g.sh.torrent.Load() != t || g.sh.s.share(g.sh.hash) != g.sh {
		return nil
	}
	return t.SetInfoBytes(b)
}

// missing picks a piece that nobody has begun with, or any that is missing;
// -1 if there is none. Agents pick at random, so that they have something to
// trade when they see each other again.
func (sh *share) missing(t *torrent.Torrent) int {
	begun, n := -1, sh.payload.pieces
	start := rand.IntN(n)
	for k := range n {
		i := (start + k) % n
		if sh.payload.has(i) {
			continue
		}
		state := t.PieceState(i)
		if !state.Partial && !state.Checking && !state.QueuedForHash {
			return i
		}
		if state.Partial {
			begun = i
		}
	}
	return begun
}

// keep writes a piece and has the library look at it, so that peers hear of
// it. The library's v1.61.0 leaves its lock locked when it is asked to verify a
// piece of a torrent that is closed: ops keeps it open.
func (sh *share) keep(ctx context.Context, i int, b []byte) error {
	sh.s.ops.Lock()
	defer sh.s.ops.Unlock()
	if sh.s.ctx.Err() != nil || sh.s.share(sh.hash) != sh || sh.payload.has(i) {
		return nil
	}
	if _, err := sh.payload.data.WriteAt(b, int64(i)*sh.payload.pieceLength); err != nil {
		err = diskError("write payload", err)
		sh.payload.fail(err)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, verifyPatience)
	defer cancel()
	sh.ledger.fellBack(i, int64(len(b)))
	if err := sh.torrent.Load().Piece(i).VerifyDataContext(ctx); err != nil {
		return err
	}
	for !sh.payload.has(i) && sh.payload.failure() == nil && ctx.Err() == nil { // the library marks it after it has said that it is verified
		pause(ctx, markTick)
	}
	return ctx.Err()
}

// received is how many bytes of payload peers have sent, verified or not.
func (sh *share) received() int64 {
	stats := sh.torrent.Load().Stats()
	return stats.BytesReadData.Int64()
}

// errBadPiece says that a source sent a piece that is not the signed one.
var errBadPiece = errors.New("the node sent a piece that does not have its hash")

// pace remembers how much the swarm has brought and when.
type pace struct{ marks []mark }

type mark struct {
	at    time.Time
	bytes int64
}

// slow takes what has come so far, and reports whether less than least came
// over all of patience.
func (p *pace) slow(now time.Time, bytes int64, patience time.Duration, least api.Rate) bool {
	if n := len(p.marks); n == 0 || now.Sub(p.marks[n-1].at) >= fallbackTick/2 {
		p.marks = append(p.marks, mark{now, bytes})
	}
	for len(p.marks) > 1 && now.Sub(p.marks[1].at) >= patience {
		p.marks = p.marks[1:]
	}
	first := p.marks[0]
	elapsed := now.Sub(first.at)
	return elapsed >= patience && float64(bytes-first.bytes) < least.BytesPerSecond()*elapsed.Seconds()
}
