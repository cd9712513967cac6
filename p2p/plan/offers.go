package plan

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

const (
	// openPieces is how many pieces an agent is offered at least that it does
	// not have yet: one to fetch and one to come.
	openPieces = 2
	// starved is how long an agent may get no piece from anybody, and have none
	// on offer, before the node takes it to be alone: behind a firewall, or
	// with nobody who gives. The node then brings it all that it lacks. For its
	// first piece it has the time too in which the node brings one to each.
	starved = time.Second
	// alonePieces is how many offers an agent has at once that is alone.
	alonePieces = 4
	// spareShare is how much the node sends a second time of its own accord: a
	// part of the payload.
	spareShare = 0.24
	// lastShare is how much all agents together may lack for the node to just send
	// it, a part of the payload: peers would bring it one by one.
	lastShare = 1. / 16
	// lastBytes is the same for small payloads: what peers would need to find each
	// other takes longer than to send it.
	lastBytes = 1 << 20
	// firstShare is how many times fewer offers are under way while an agent
	// has nothing to trade yet.
	firstShare = 3
	// Tick is the time between two calls of Offers.Tick.
	Tick = 500 * time.Millisecond
	// fewSlots is how many offers are under way at least, over all agents. It
	// is few, so that first copies are whole soon and can be traded.
	fewSlots = 4
	// slotTime is the work that offers make for the uplink, once it has shown
	// what it can carry: agents that fetch from many at once take their time.
	slotTime = 1500 * time.Millisecond
)

// Taker tells an agent that the node has a piece. It must not block, and not
// call the Offers that calls it.
type Taker interface{ Offer(piece int) }

// Offers decides which agent gets which piece from a node that has them all, in
// the manner of BEP 16: the node claims to have nothing and offers each piece
// to one agent before any goes out twice. Agents then have something for each
// other at once, and the node's uplink carries the payload about once.
//
// It is safe for concurrent use and its lock is a leaf.
type Offers struct {
	pieces      int
	pieceLength int64 // bytes
	now         func() time.Time
	intN        func(n int) int

	mu     sync.Mutex
	slots  int       // offers that may be under way
	rate   float64   // the most that the node has sent, bytes per second
	sent   int64     // payload bytes that the node had sent at the last tick
	ticked time.Time // when that was
	offers []int     // by piece: how often it was offered
	copies []int     // by piece: agents that have it

	repeats bool  // second offers have begun
	left    int   // pieces that agents lacked then, in sum, or have come for since
	before  int64 // payload bytes that the node had sent or promised then

	agents map[string]*planned
	joined []*planned // the same, in the order in which they came
}

// planned is what the plan knows of one agent.
type planned struct {
	to     Taker
	has    []bool
	known  int          // pieces it has
	open   map[int]bool // offered, and not there yet
	unseen map[int]bool // came from here, and nobody else has it yet
	alone  bool         // nobody else gives it anything
	moved  time.Time    // when it got a piece last, from anybody
}

// NewOffers returns the plan of a payload of so many pieces, without agents.
func NewOffers(pieces int, pieceLength int64) *Offers {
	return &Offers{
		pieces: pieces, pieceLength: pieceLength, slots: fewSlots,
		now: time.Now, intN: rand.IntN,
		offers: make([]int, pieces),
		copies: make([]int, pieces),
		agents: make(map[string]*planned),
	}
}

// Simulate makes the plan take the time and its random numbers from elsewhere,
// so that a run can be repeated. It is for before the first agent.
func (p *Offers) Simulate(now func() time.Time, intN func(n int) int) { p.now, p.intN = now, intN }

// Join takes up an agent that claims nothing yet.
func (p *Offers) Join(id string, to Taker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.part(id)
	a := &planned{
		to: to, has: make([]bool, p.pieces), moved: p.now(),
		open: make(map[int]bool, openPieces), unseen: make(map[int]bool),
	}
	p.agents[id] = a
	p.joined = append(p.joined, a)
	p.left += p.pieces
}

// Leave forgets the agent that to speaks to; its unfinished offers are free again.
func (p *Offers) Leave(id string, to Taker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := p.agents[id]; a != nil && a.to == to {
		p.part(id)
	}
}

// part needs mu.
func (p *Offers) part(id string) {
	a := p.agents[id]
	if a == nil {
		return
	}
	delete(p.agents, id)
	p.joined = slices.DeleteFunc(p.joined, func(o *planned) bool { return o == a })
	p.left -= p.pieces - a.known
	if len(p.joined) == 0 {
		p.repeats = false // whoever comes is another swarm
	}
	for i := range a.open {
		p.offers[i]--
	}
	for i, has := range a.has {
		if has {
			p.copies[i]--
			if p.copies[i] == 0 {
				p.offers[i] = p.onTheirWay(i) // the others went with the agent
			}
		}
	}
}

// onTheirWay counts the agents that a piece is on offer to. It needs mu.
func (p *Offers) onTheirWay(piece int) (n int) {
	for _, a := range p.joined {
		if a.open[piece] {
			n++
		}
	}
	return n
}

// Has takes an agent's word for which pieces it has; none is a word too.
func (p *Offers) Has(id string, pieces ...int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.agents[id]
	if a == nil {
		return
	}
	for _, i := range pieces {
		p.got(a, i)
	}
	p.supply()
}

// HasAll takes an agent's word that it has every piece.
func (p *Offers) HasAll(id string) {
	all := make([]int, p.pieces)
	for i := range all {
		all[i] = i
	}
	p.Has(id, all...)
}

// got needs mu.
func (p *Offers) got(a *planned, piece int) {
	if piece < 0 || piece >= p.pieces || a.has[piece] {
		return
	}
	a.has[piece] = true
	a.known++
	a.moved = p.now()
	p.copies[piece]++
	if !a.open[piece] {
		a.alone = false
	} else {
		delete(a.open, piece)
		if p.copies[piece] == 1 {
			a.unseen[piece] = true
		}
	}
	if p.copies[piece] < 2 {
		return
	}
	for _, o := range p.joined {
		if o != a {
			delete(o.unseen, piece)
		}
	}
}

// supply fills the slots. It needs mu.
func (p *Offers) supply() {
	for _, a := range p.joined {
		for a.alone && len(a.open) < alonePieces {
			piece, _ := p.next(a)
			if piece < 0 {
				break
			}
			p.give(a, piece)
		}
	}
	open, known, slots := 0, 0, p.slots
	for _, a := range p.joined {
		open += len(a.open)
		known += a.known
		if a.known == 0 { // it waits for a first piece, and its uplink with it
			slots = max(fewSlots, p.slots/firstShare)
		}
	}
	for ; open < slots; open++ {
		a := p.neediest()
		if a == nil {
			return
		}
		piece, fresh := p.next(a)
		if piece >= 0 && !fresh {
			if !p.repeat(known, open) {
				return
			}
			a = p.hindmost(a)
			piece, _ = p.next(a)
		}
		if piece < 0 {
			return
		}
		p.give(a, piece)
	}
}

// repeat reports whether a piece may be offered a second time, with so many
// offers open. What the node sends so lasts from when first offers have ended
// until the payload is everywhere: all that time the uplinks of agents fall a
// little short of their downlinks. It comes evenly, for a flow that bursts into a
// full link costs those beside it more than it brings. The agents know so many
// pieces in sum. It needs mu.
func (p *Offers) repeat(known, open int) bool {
	left := p.pieces*len(p.joined) - known
	lacking := float64(left) * float64(p.pieceLength)
	if lacking <= max(lastShare*float64(p.pieces)*float64(p.pieceLength), lastBytes) {
		return true
	}
	promised := p.sent + int64(open)*p.pieceLength
	if !p.repeats {
		p.repeats, p.left, p.before = true, left, promised
	}
	progress := 1 - float64(left)/float64(max(1, p.left))
	return float64(promised-p.before) <= spareShare*progress*float64(p.pieces)*float64(p.pieceLength)
}

// mayHave reports whether another piece can be offered to an agent. Few agents
// have more each: a fast link must not wait for one piece to be verified before
// the next is on its way. It needs mu.
func (p *Offers) mayHave(a *planned) bool {
	return len(a.open) < max(openPieces, p.slots/max(1, len(p.agents))) && a.known+len(a.open) < p.pieces
}

// hindmost returns the agent that has least of the payload, of those that may
// have another piece; a if there is none. Peers give to all alike, and what an
// agent falls behind it cannot make good: the last one ends the rollout. It
// needs mu.
func (p *Offers) hindmost(a *planned) *planned {
	for _, o := range p.joined {
		if p.mayHave(o) && o.known+len(o.open) < a.known+len(a.open) {
			a = o
		}
	}
	return a
}

// neediest returns the agent that has least to do of those that may have
// another piece: who has pieces that nobody else has seen yet is busy passing
// them on, the longer the slower its uplink is. It needs mu.
func (p *Offers) neediest() (best *planned) {
	for _, a := range p.joined {
		if !p.mayHave(a) {
			continue
		}
		if best == nil || a.load() < best.load() || (a.load() == best.load() && a.known < best.known) {
			best = a
		}
	}
	return best
}

// load is what an agent has to fetch and to pass on.
func (a *planned) load() int { return len(a.open) + len(a.unseen) }

// give needs mu.
func (p *Offers) give(a *planned, piece int) {
	p.offers[piece]++
	a.open[piece] = true
	a.to.Offer(piece)
}

// next returns the piece that was offered least of those that the agent lacks,
// and whether that is never; -1 if there is none. It needs mu.
func (p *Offers) next(a *planned) (piece int, fresh bool) {
	piece = -1
	start := p.intN(p.pieces)
	for k := range p.pieces {
		i := (start + k) % p.pieces
		if a.open[i] || a.has[i] {
			continue
		}
		if piece < 0 || p.rank(i) < p.rank(piece) {
			piece = i
		}
	}
	return piece, piece >= 0 && p.offers[piece] == 0 && p.copies[piece] == 0
}

// rank orders pieces: those that were offered least first, then the rarest.
func (p *Offers) rank(i int) int { return max(p.offers[i], p.copies[i])*1024 + p.copies[i] }

// Tick takes the time, and how many payload bytes the node has sent so far. It
// looks after agents that nothing comes to: whoever was to give them pieces is
// slow, gone or out of reach.
func (p *Offers) Tick(now time.Time, sent int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.widen(now, sent)
	for _, a := range p.joined {
		patience := starved
		if a.known == 0 {
			patience += p.turn()
		}
		if a.known < p.pieces && len(a.open) == 0 && now.Sub(a.moved) >= patience {
			a.alone = true
		}
	}
	p.supply()
}

// turn is how long the node needs to bring each agent a piece. It needs mu.
func (p *Offers) turn() time.Duration {
	if p.rate <= 0 {
		return 0
	}
	return time.Duration(float64(len(p.joined)) * float64(p.pieceLength) / p.rate * float64(time.Second))
}

// widen gives the uplink as many slots as it has shown that it can fill. It
// needs mu.
func (p *Offers) widen(now time.Time, sent int64) {
	elapsed := now.Sub(p.ticked)
	if !p.ticked.IsZero() && elapsed > 0 {
		p.rate = max(p.rate, float64(sent-p.sent)/elapsed.Seconds())
		perSlotTime := float64(sent-p.sent) * float64(slotTime) / float64(elapsed)
		p.slots = max(p.slots, int(perSlotTime/float64(p.pieceLength)))
	}
	p.ticked, p.sent = now, sent
}
