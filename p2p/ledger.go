package p2p

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"redflag/api"
)

const (
	// probation is how long a suspect is set aside.
	probation = 5 * time.Second
	// suspicious is how many corrupt pieces make a suspect.
	suspicious = 2
)

// ledger counts payload bytes by who sent them. What a peer sent counts once
// its piece is verified; bytes of corrupt pieces are counted apart. It is safe
// for concurrent use and its lock is a leaf.
type ledger struct {
	self Peer

	mu      sync.Mutex
	pending map[int]map[Peer]int64 // by piece
	fallen  map[int]int64          // bytes of the fallback, by piece
	records map[string]*record     // by peer ID
	until   time.Time              // the end of the present suspect's probation
	began   time.Time
	last    time.Time // when a piece was verified last, zero before
	sums    Stats
}

// record is what a peer's bytes came to.
type record struct {
	id       string
	node     bool
	verified int64 // bytes
	corrupt  int   // pieces
}

func newLedger(self Peer) *ledger {
	return &ledger{
		self: self, began: time.Now(), pending: make(map[int]map[Peer]int64),
		fallen: make(map[int]int64), records: make(map[string]*record),
	}
}

func (l *ledger) record(id string) *record {
	r := l.records[id]
	if r == nil {
		r = &record{id: id}
		l.records[id] = r
	}
	return r
}

// received notes n bytes of a piece that is not verified yet.
func (l *ledger) received(piece int, from Peer, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	by := l.pending[piece]
	if by == nil {
		by = make(map[Peer]int64, 1)
		l.pending[piece] = by
	}
	by[from] += n
}

// verified moves a piece's bytes to the sums.
func (l *ledger) verified(piece int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	for from, n := range l.pending[piece] {
		r := l.record(from.ID)
		r.node = from.Node
		r.verified += n
		if from.Near {
			l.sums.FromSite += n
		}
		if from.Node {
			l.sums.FromNodes += n
		} else {
			l.sums.FromPeers += n
		}
		if from.Region != l.self.Region {
			l.sums.FromOtherRegions += n
		}
	}
	delete(l.pending, piece)
	l.sums.FromFallback += l.fallen[piece]
	delete(l.fallen, piece)
}

// corrupt drops a piece's bytes and returns who sent some of them, and which
// of them to set aside for its probation, if any.
//
// With several senders nobody knows who it was before the piece comes right,
// and a liar that is quick can spoil every piece again. So one suspect at a
// time is set aside. Without the liar pieces come right, and the library bans
// it for the blocks that differ; without an honest peer the liar is the only
// sender of some piece, and is banned for that.
func (l *ledger) corrupt(piece int) (senders []string, suspect string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var worst *record
	for from, n := range l.pending[piece] {
		l.sums.Corrupt += n
		senders = append(senders, from.ID)
		r := l.record(from.ID)
		r.corrupt++
		if worst == nil || worse(r, worst) {
			worst = r
		}
	}
	delete(l.pending, piece)
	slices.Sort(senders)
	if len(senders) < 2 || worst.corrupt < suspicious || time.Now().Before(l.until) {
		return senders, ""
	}
	l.until = time.Now().Add(probation)
	return senders, worst.id
}

// worse reports whether a is the more likely liar: its word came true least.
func worse(a, b *record) bool {
	return cmp.Or(cmp.Compare(a.verified, b.verified), cmp.Compare(b.corrupt, a.corrupt), cmp.Compare(a.id, b.id)) < 0
}

// fellBack notes n bytes of a piece that came from no peer.
func (l *ledger) fellBack(piece int, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fallen[piece] = n
}

// spoiled counts bytes that were fetched in vain.
func (l *ledger) spoiled(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sums.Corrupt += n
}

// totals returns the sums so far. Whole is whether nothing is missing.
func (l *ledger) totals(whole bool) Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	sums := l.sums
	for _, r := range l.records {
		if r.verified > 0 {
			sums.Sources = append(sums.Sources, api.SwarmSource{ID: r.id, Node: r.node, Bytes: r.verified})
		}
	}
	slices.SortFunc(sums.Sources, func(a, b api.SwarmSource) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.ID, b.ID))
	})
	sums.Sources = sums.Sources[:min(len(sums.Sources), api.MaxSources)]
	switch {
	case !whole:
		sums.Took = time.Since(l.began)
	case !l.last.IsZero():
		sums.Took = l.last.Sub(l.began)
	}
	return sums
}
