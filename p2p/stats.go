package p2p

import (
	"time"

	"redflag/api"
)

// Stats accounts for one payload since this process opened it, in bytes.
type Stats struct {
	api.Transfer
	// Corrupt counts what belonged to pieces that failed their hash.
	Corrupt int64
	// Wasted counts what came more than once.
	Wasted int64
	// FromSite is the part of FromPeers that came from the same site.
	FromSite int64
	// Sources are the peers that gave most, the first one the most.
	Sources []api.SwarmSource
	// Took is the time since the payload was opened, until it was complete;
	// zero if it was complete from the start.
	Took time.Duration
	// Peers is how many peers are connected.
	Peers int
}

// Shares returns the info hashes of the payloads that are open, complete or
// not, in no order.
func (s *Swarm) Shares() []string {
	var found []string
	for _, sh := range s.all() {
		found = append(found, sh.hex)
	}
	return found
}

// Stats returns the account of a payload that is open in this swarm.
func (s *Swarm) Stats(infoHash string) (Stats, bool) {
	hash, err := parseHash(infoHash)
	if err != nil {
		return Stats{}, false
	}
	sh := s.share(hash)
	if sh == nil {
		return Stats{}, false
	}
	return sh.stats(), true
}

func (sh *share) stats() Stats {
	sums := sh.ledger.totals(sh.payload.isComplete())
	sums.Total = sh.payload.length
	sums.Done = sh.payload.done()
	if t := sh.torrent.Load(); t != nil {
		lib := t.Stats()
		sums.ToPeers = lib.BytesWrittenData.Int64()
		sums.Wasted = max(0, lib.BytesReadData.Int64()-lib.BytesReadUsefulData.Int64())
		sums.Peers = lib.ActivePeers
	}
	return sums
}
