package p2p

import "redflag/api"

// Stats accounts for one payload since this process opened it, in bytes.
type Stats struct {
	api.Transfer
	// Corrupt counts what belonged to pieces that failed their hash.
	Corrupt int64
	// Wasted counts what came more than once.
	Wasted int64
	// Peers is how many peers are connected.
	Peers int
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
	sums := sh.ledger.totals()
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
