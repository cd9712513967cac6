package p2p

import (
	"sync"
	"time"

	"redflag/api"
)

const (
	// maxBook bounds the peers that are remembered; some are forgotten beyond.
	maxBook = 1 << 14
	// refusal is how long a peer is refused that sent a false info dictionary.
	// It is short: with an info of several parts the wrong one may be blamed.
	refusal = time.Minute
)

// book remembers who is behind a made-up address. It is safe for concurrent
// use and its lock is a leaf.
type book struct {
	mu      sync.Mutex
	entries map[string]*entry // by address.String
}

type entry struct {
	id      string
	dial    string // host:port, empty if only seen as a caller
	peer    Peer   // as its certificate says; zero before the first connection
	near    bool   // in this side's site, as the tracker says
	refused time.Time
	banned  bool
}

func newBook() *book { return &book{entries: make(map[string]*entry)} }

func (b *book) entry(id string) *entry {
	key := addressOf(id).String()
	if e := b.entries[key]; e != nil {
		return e
	}
	for k := range b.entries {
		if len(b.entries) < maxBook {
			break
		}
		delete(b.entries, k)
	}
	e := &entry{id: id}
	b.entries[key] = e
	return e
}

// listed notes where a tracker says that a peer listens.
func (b *book) listed(p api.SwarmPeer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(p.ID)
	e.dial, e.near = p.Addr, p.SameSite
}

// near reports whether a tracker says that a peer is in this side's site, and
// whether it has said anything.
func (b *book) near(id string) (near, known bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[addressOf(id).String()]
	if e == nil || e.dial == "" {
		return false, false
	}
	return e.near, true
}

// met notes who was really at the other end, and reports whether the peer is
// welcome.
func (b *book) met(p Peer) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(p.ID)
	e.peer = p
	return time.Now().After(e.refused)
}

// refuse keeps a peer out for d.
func (b *book) refuse(id string, d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.entry(id).refused = time.Now().Add(d)
}

// target returns the peer to reach at a made-up address, and where.
func (b *book) target(addr string) (id, dial string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[addr]
	if e == nil || e.dial == "" {
		return "", "", false
	}
	return e.id, e.dial, true
}

// peer returns the certified identity behind a made-up address.
func (b *book) peer(addr string) (Peer, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[addr]
	if e == nil || e.peer.ID == "" {
		return Peer{}, false
	}
	return e.peer, true
}

// ban marks a peer as banned and returns its ID the first time.
func (b *book) ban(addr string) (id string, news bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[addr]
	if e == nil || e.banned {
		return "", false
	}
	e.banned = true
	return e.id, true
}
