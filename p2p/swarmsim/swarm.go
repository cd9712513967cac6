package main

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"redflag/p2p"
	"redflag/p2p/plan"
)

const (
	// maxPeers is how many connections a machine has in one swarm, as in p2p.
	maxPeers = 50
	// blockSize is what one request asks for, in bytes (BEP 3).
	blockSize = 16 << 10
	// framing is what a byte of payload takes on the wire: of 1514 bytes of a
	// full Ethernet frame, TCP carries 1448.
	framing = 1514.0 / 1448
	// backlog is how far ahead of its downlink a machine lets others send.
	backlog = int64(time.Second)
	// looks is how many pieces are looked at for the rarest.
	looks = 4
	// swarmHash names the one swarm that there is.
	swarmHash = "0000000000000000000000000000000000000000"
)

// epoch is when the simulation begins, for code that wants a time of day.
var epoch = time.Unix(1_000_000_000, 0)

// machine is one member of the swarm. An uplink sends one piece at a time to
// one peer; a downlink takes pieces in one after the other. So neither ever
// carries more than its rate, and every piece is one event at each end.
type machine struct {
	id       string
	site     string
	up, down float64 // nanoseconds a byte of payload takes
	node     bool
	life     uint16 // counts how often it went down
	turn     uint16 // of its announces: one made out of turn replaces the next
	online   bool
	sending  bool
	asleep   bool // it wants to serve and waits for a downlink
	rank     int
	size     int
	left     int   // pieces
	coming   int   // pieces on their way to it
	inFree   int64 // when its downlink is
	doneAt   int64 // when it had all; 0 until then
	have     pieces
	held     pieces // those, and the ones on their way
	offered  pieces // by the node's plan
	conns    []int32
}

// swarm is one region, or the nodes among themselves, with one payload. Member 0
// has it from the start.
type swarm struct {
	cfg      config
	rng      *rand.Rand
	now      int64
	calendar calendar
	members  []machine
	copies   []int32 // by piece
	tracker  *p2p.Tracker
	offers   *plan.Offers // nil without a node that plans
	missing  int          // members without the whole
	left     int          // members that go down and come back, not yet back

	sent      int64   // payload bytes that member 0 has sent
	got       []int64 // by member: payload bytes that arrived
	fromNode  int64   // payload bytes that arrived, by where they came from
	fromSite  int64
	fromPeers int64
	wasted    int64 // sent to or by machines that went down
	announces []int // by second

	// What the product's own code took of this machine's time.
	trackerTook, planTook time.Duration
	planned               int // calls of the plan
}

// config is what a swarm is made of.
type config struct {
	pieces      int
	pieceLength int64
	length      int64
	latency     time.Duration
	spread      time.Duration // machines start within it
	churn       float64       // share of machines that go down once
	within      time.Duration // when they do
	planned     bool          // member 0 is a node that plans
}

func newSwarm(cfg config, seed uint64) *swarm {
	s := &swarm{cfg: cfg, rng: rand.New(rand.NewPCG(seed, 0)), tracker: p2p.NewTracker(), copies: make([]int32, cfg.pieces)}
	s.tracker.Simulate(s.rng.IntN)
	if cfg.planned {
		s.offers = plan.NewOffers(cfg.pieces, cfg.pieceLength)
		s.offers.Simulate(s.time, s.rng.IntN)
	}
	return s
}

func (s *swarm) time() time.Time { return epoch.Add(time.Duration(s.now)) }

// add takes in a machine with links in bytes of the wire per second.
func (s *swarm) add(up, down float64, site string) {
	i := len(s.members)
	m := machine{
		id: strconv.Itoa(i), site: site, up: framing * 1e9 / up, down: framing * 1e9 / down, left: s.cfg.pieces,
		have: newPieces(s.cfg.pieces), held: newPieces(s.cfg.pieces), size: 1,
	}
	if i == 0 {
		m.left, m.node, m.online = 0, s.cfg.planned, true
		for p := range s.cfg.pieces {
			m.have.add(int32(p))
		}
	}
	if i > 0 {
		s.missing++
		if s.cfg.planned {
			m.offered = newPieces(s.cfg.pieces)
		}
	}
	s.members = append(s.members, m)
	s.got = append(s.got, 0)
}

// run goes on until everybody has everything, and returns how long that took.
func (s *swarm) run() time.Duration {
	for i := range s.members {
		if i == 0 && s.offers != nil {
			s.after(plan.Tick, event{what: whenTick})
			continue
		}
		start := time.Duration(s.rng.Float64() * float64(s.cfg.spread))
		if i > 0 {
			s.after(start, event{what: whenReturn, a: int32(i)})
			if s.rng.Float64() < s.cfg.churn {
				s.left++
				s.after(start+time.Duration(s.rng.Float64()*float64(s.cfg.within)), event{what: whenLeave, a: int32(i)})
			}
			continue
		}
		s.after(0, event{what: whenAnnounce})
	}
	for s.missing > 0 || s.left > 0 {
		e, ok := s.calendar.next()
		if !ok {
			break
		}
		s.now = e.at
		s.happen(e)
	}
	last := int64(0)
	for i := range s.members {
		last = max(last, s.members[i].doneAt)
	}
	return time.Duration(last)
}

func (s *swarm) after(d time.Duration, e event) {
	e.at = s.now + int64(d)
	s.calendar.add(e)
}

func (s *swarm) happen(e event) {
	m := &s.members[e.a]
	switch e.what {
	case whenSent:
		if e.ea == m.life {
			m.sending = false
			s.serve(e.a)
		}
	case whenArrived:
		s.arrived(e)
	case whenAnnounce:
		if e.eb == m.turn && m.online {
			s.announce(e.a)
		}
	case whenTick:
		s.offers.Tick(s.time(), s.sent)
		s.serve(0)
		s.after(plan.Tick, event{what: whenTick})
	case whenServe:
		if e.ea == m.life {
			m.asleep = false
			s.serve(e.a)
		}
	case whenLeave:
		s.leave(e.a)
		s.after(10*time.Second+time.Duration(s.rng.Int64N(int64(20*time.Second))), event{what: whenReturn, a: e.a})
	case whenReturn:
		if m.life > 0 {
			s.left--
		}
		m.online = true
		s.announce(e.a)
	}
}

// announce asks the tracker for peers and connects to them.
func (s *swarm) announce(a int32) {
	m := &s.members[a]
	m.turn++
	second := int(s.now / int64(time.Second))
	for len(s.announces) <= second {
		s.announces = append(s.announces, 0)
	}
	s.announces[second]++
	began := time.Now()
	resp := s.tracker.Announce(swarmHash, p2p.Member{
		Peer: p2p.Peer{ID: m.id, Site: m.site}, Addr: m.id, Left: int64(m.left) * s.cfg.pieceLength,
	}, s.time())
	s.trackerTook += time.Since(began)
	if m.left > 0 {
		m.rank, m.size = resp.Rank, resp.Size
		for _, p := range resp.Peers {
			if b, err := strconv.ParseInt(p.ID, 10, 32); err == nil {
				s.connect(a, int32(b))
			}
		}
		if s.offers != nil { // the node names itself
			s.connect(a, 0)
		}
	}
	next := float64(plan.NextAnnounce(time.Duration(resp.Interval), m.left > 0, len(m.conns)))
	s.after(time.Duration(next*(0.9+0.2*s.rng.Float64())), event{what: whenAnnounce, a: a, eb: m.turn})
}

func (s *swarm) connect(a, b int32) {
	x, y := &s.members[a], &s.members[b]
	if !y.online || a == b || len(x.conns) >= maxPeers || len(y.conns) >= maxPeers || (x.left == 0 && y.left == 0) {
		return
	}
	if slices.Contains(x.conns, b) {
		return
	}
	x.conns, y.conns = append(x.conns, b), append(y.conns, a)
	if y.node {
		s.offers.Join(x.id, taker{s, a})
		s.heard(x.id, x.list()...)
	}
	s.serve(a)
	s.serve(b)
}

// taker is how the plan offers a machine a piece.
type taker struct {
	s *swarm
	a int32
}

// Offer implements plan.Taker.
func (t taker) Offer(piece int) { t.s.members[t.a].offered.add(int32(piece)) }

// list returns what the machine has.
func (m *machine) list() (all []int) {
	for w, b := range m.have {
		for ; b != 0; b &= b - 1 {
			all = append(all, w<<6+bits.TrailingZeros64(b))
		}
	}
	return all
}

// disconnect ends the connection of a to b, seen from a.
func (s *swarm) disconnect(a, b int32) {
	m := &s.members[a]
	if i := slices.Index(m.conns, b); i >= 0 {
		m.conns = slices.Delete(m.conns, i, i+1)
	}
	if m.node {
		s.offers.Leave(s.members[b].id, taker{s, b})
		clear(s.members[b].offered)
	}
}

// leave takes a machine down, with all that is on its way to it or from it.
func (s *swarm) leave(a int32) {
	m := &s.members[a]
	for _, c := range m.conns {
		s.disconnect(c, a)
	}
	m.conns = m.conns[:0]
	m.life++
	m.online, m.sending, m.asleep = false, false, false
	m.inFree, m.coming = 0, 0
	copy(m.held, m.have)
	if s.offers != nil {
		s.serve(0)
	}
}

// serve sends the next piece, if a has somebody to send one to.
func (s *swarm) serve(a int32) {
	m := &s.members[a]
	if m.sending || !m.online || len(m.conns) == 0 {
		return
	}
	wake, start := int64(0), s.rng.IntN(len(m.conns))
	for k := range m.conns {
		at := start + k
		if at >= len(m.conns) {
			at -= len(m.conns)
		}
		b := m.conns[at]
		d := &s.members[b]
		if d.left == 0 {
			continue
		}
		of := m.have
		if m.node {
			of = d.offered
		}
		if !wanted(of, d.held) {
			continue
		}
		if ready := s.ready(d); ready > s.now {
			if wake == 0 || ready < wake {
				wake = ready
			}
			continue
		}
		s.send(a, b, s.choose(d, of))
		return
	}
	if wake > 0 && !m.asleep {
		m.asleep = true
		s.calendar.add(event{at: wake, what: whenServe, a: a, ea: m.life})
	}
}

// ready is from when on a machine asks for another piece: as many blocks may be
// under way as the plan allows, and its downlink bounds them as well.
func (s *swarm) ready(d *machine) int64 {
	asked := plan.Requests(plan.AskedAtOnce, len(d.conns)) * len(d.conns)
	if int64(d.coming)*s.cfg.pieceLength >= max(s.cfg.pieceLength, int64(asked)*blockSize) {
		return s.now + int64(d.down*float64(s.cfg.pieceLength))
	}
	return d.inFree - backlog
}

// choose picks a piece that d wants: one of its slice if there is one, else one
// of the rarest.
func (s *swarm) choose(d *machine, of pieces) int32 {
	best := int32(-1)
	for range looks {
		i := draw(of, d.held, int32(s.rng.IntN(s.cfg.pieces)))
		if plan.Slice(int(i), d.rank, d.size) {
			return i
		}
		if best < 0 || s.copies[i] < s.copies[best] {
			best = i
		}
	}
	return best
}

func (s *swarm) size(piece int32) int64 {
	if int(piece) == s.cfg.pieces-1 {
		return s.cfg.length - int64(piece)*s.cfg.pieceLength
	}
	return s.cfg.pieceLength
}

func (s *swarm) send(a, b, piece int32) {
	m, d := &s.members[a], &s.members[b]
	bytes := float64(s.size(piece))
	m.sending = true
	d.held.add(piece)
	d.coming++
	sent := s.now + int64(bytes*m.up)
	d.inFree = max(d.inFree, s.now) + int64(bytes*d.down)
	if a == 0 {
		s.sent += s.size(piece)
	}
	s.calendar.add(event{at: sent, what: whenSent, a: a, ea: m.life})
	s.calendar.add(event{
		at: max(sent, d.inFree) + int64(s.cfg.latency), what: whenArrived, a: a, b: b, piece: piece, ea: m.life, eb: d.life,
	})
}

func (s *swarm) arrived(e event) {
	m, d := &s.members[e.a], &s.members[e.b]
	if d.life != e.eb {
		s.wasted += s.size(e.piece)
		return
	}
	d.coming--
	if m.life != e.ea { // what had not left the machine is lost
		d.held.remove(e.piece)
		s.wasted += s.size(e.piece)
		for _, c := range d.conns {
			s.serve(c)
		}
		return
	}
	size := s.size(e.piece)
	s.got[e.b] += size
	switch {
	case m.node:
		s.fromNode += size
	case m.site != "" && m.site == d.site:
		s.fromSite += size
	default:
		s.fromPeers += size
	}
	d.have.add(e.piece)
	d.left--
	s.copies[e.piece]++
	if s.offers != nil {
		s.tell(d, e.piece)
	}
	s.serve(e.b)
	if d.left == 0 {
		s.complete(e.b)
	}
}

// tell lets the node know of a piece, over a connection if there is one.
func (s *swarm) tell(d *machine, piece int32) {
	if slices.Contains(d.conns, 0) {
		s.heard(d.id, int(piece))
		s.serve(0)
	}
}

// heard tells the node's plan what a machine has.
func (s *swarm) heard(id string, has ...int) {
	began := time.Now()
	s.offers.Has(id, has...)
	s.planTook += time.Since(began)
	s.planned++
}

// complete ends connections between machines that have nothing to say.
func (s *swarm) complete(a int32) {
	m := &s.members[a]
	m.doneAt = s.now
	s.missing--
	kept := m.conns[:0]
	for _, c := range m.conns {
		if s.members[c].left > 0 {
			kept = append(kept, c)
			continue
		}
		s.disconnect(c, a)
	}
	m.conns = kept
	if s.offers != nil {
		s.serve(0)
	}
	s.after(0, event{what: whenAnnounce, a: a, eb: m.turn})
}
