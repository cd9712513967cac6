package p2p

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLedgerSetsTheLikelyLiarAside(t *testing.T) {
	l := newLedger(Peer{ID: "me", Region: "eu"})
	honest := Peer{ID: "a-honest", Region: "eu"}
	far := Peer{ID: "far", Region: "us", Node: true}
	liar := Peer{ID: "liar", Region: "eu"}
	l.received(0, honest, 10)
	l.received(0, far, 5)
	l.verified(0)

	for piece := range 3 {
		l.received(piece, honest, 10)
		l.received(piece, liar, 10)
	}
	senders, suspect := l.corrupt(0)
	require.Equal(t, []string{"a-honest", "liar"}, senders)
	require.Empty(t, suspect, "once is no pattern")
	_, suspect = l.corrupt(1)
	require.Equal(t, "liar", suspect)
	_, suspect = l.corrupt(2)
	require.Empty(t, suspect, "one at a time")

	sums := l.totals(false)
	require.EqualValues(t, 10, sums.FromPeers)
	require.EqualValues(t, 5, sums.FromNodes)
	require.EqualValues(t, 5, sums.FromOtherRegions)
	require.EqualValues(t, 60, sums.Corrupt)
}
