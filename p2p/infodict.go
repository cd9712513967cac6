package p2p

import "fmt"

// Info returns the bencoded info dictionary of a complete payload.
func (s *Swarm) Info(infoHash string) ([]byte, error) {
	hash, err := parseHash(infoHash)
	if err != nil {
		return nil, fmt.Errorf("read info dictionary: %w", err)
	}
	if sh := s.share(hash); sh != nil && sh.payload.isComplete() {
		return sh.payload.infoBytes(), nil
	}
	return nil, fmt.Errorf("info dictionary of %s: %w", infoHash, ErrNotComplete)
}
