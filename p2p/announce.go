package p2p

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/anacrolix/torrent"

	"redflag/api"
	"redflag/p2p/plan"
	"redflag/telemetry"
)

// Announcer tells a tracker that this machine takes part in a swarm and still
// misses left bytes, and returns peers to try.
type Announcer func(ctx context.Context, infoHash string, left int64) (api.AnnounceResponse, error)

const (
	// A failing announce is repeated after firstRetry, doubling up to lastRetry.
	firstRetry = 500 * time.Millisecond
	lastRetry  = 15 * time.Second
	// maxListed bounds the peers that are taken from one answer.
	maxListed = 200
)

// announcing keeps one share known to its tracker and supplied with peers and
// with an order of pieces.
type announcing struct {
	sh   *share
	call Announcer

	failures   int
	rank, size int // of the order that is set
	ordered    bool
}

// run announces until ctx ends.
func (a *announcing) run(ctx context.Context) {
	t := a.sh.torrent.Load()
	complete, gotInfo := a.sh.payload.complete, t.GotInfo()
	for ctx.Err() == nil {
		left := a.sh.payload.length - a.sh.payload.done()
		timer := time.NewTimer(a.once(ctx, left))
		if left == 0 {
			complete = nil // the tracker knows
		}
		select {
		case <-timer.C:
		case <-complete:
		case <-gotInfo:
			gotInfo = nil
			a.order(t)
			select {
			case <-timer.C:
			case <-complete:
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// once announces and returns the time until the next announce.
func (a *announcing) once(ctx context.Context, left int64) time.Duration {
	resp, err := a.call(ctx, a.sh.hex, left)
	if err != nil {
		if ctx.Err() == nil {
			telemetry.For(ctx, a.sh.s.log).Warn("announce failed", keyInfoHash, a.sh.hex, telemetry.KeyError, err)
		}
		delay := min(firstRetry<<min(a.failures, 10), lastRetry)
		a.failures++
		return jitter(delay)
	}
	a.failures = 0
	t := a.sh.torrent.Load()
	if left > 0 {
		a.addPeers(t, resp.Peers)
		a.rank, a.size, a.ordered = resp.Rank, resp.Size, a.ordered && a.rank == resp.Rank && a.size == resp.Size
		a.order(t)
	}
	return jitter(plan.NextAnnounce(time.Duration(resp.Interval), left > 0, t.Stats().ActivePeers))
}

func (a *announcing) addPeers(t *torrent.Torrent, listed []api.SwarmPeer) {
	peers := make([]torrent.PeerInfo, 0, min(len(listed), maxListed))
	for _, p := range listed[:min(len(listed), maxListed)] {
		if p.ID == "" || p.Addr == "" || p.ID == a.sh.s.cfg.Self.ID {
			continue
		}
		a.sh.s.book.listed(p)
		peers = append(peers, torrent.PeerInfo{
			Id:     clientID(p.ID),
			Addr:   addressOf(p.ID),
			Source: torrent.PeerSourceTracker,
		})
	}
	t.AddPeers(peers)
}

// order asks for all pieces, the own slice first: the library orders alike on
// machines that see alike.
func (a *announcing) order(t *torrent.Torrent) {
	if t.Info() == nil || a.ordered {
		return
	}
	for i := range t.NumPieces() {
		priority := torrent.PiecePriorityNormal
		if plan.Slice(i, a.rank, a.size) {
			priority = torrent.PiecePriorityHigh
		}
		t.Piece(i).SetPriority(priority)
	}
	a.ordered = true
}

// jitter spreads d by a tenth either way, so that machines that started
// together do not stay together.
func jitter(d time.Duration) time.Duration {
	var b [2]byte
	_, _ = rand.Read(b[:]) // never fails; it aborts the program
	return d*9/10 + d/5*time.Duration(binary.BigEndian.Uint16(b[:]))/(1<<16)
}
