package p2p_test

import (
	"testing"

	"redflag/p2p/p2ptest"
)

// The library looks at the rarest pieces first; a node that offers pieces one
// by one leaves most of them with nobody at all.
func TestFetchOfManyPiecesFromANodeThatOffersThem(t *testing.T) {
	w := p2ptest.NewWorld(t)
	want := content(t, 72<<20)
	torrent := p2ptest.MakeTorrent(t, want)
	w.Join(node("node-1", "eu"), p2ptest.Options{}).Seed(t, torrent, want)
	fetchAll(t, torrent, []*p2ptest.Machine{w.Join(agent(0), p2ptest.Options{})})
}
