package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// taker is an agent of a test: it lists what it was offered.
type taker struct{ offered []int }

func (t *taker) Offer(piece int) { t.offered = append(t.offered, piece) }

func TestPlanGivesEachPieceOnce(t *testing.T) {
	const pieces, agents = 64, 8
	p := NewOffers(pieces, 256<<10)
	spare := p.again
	var takers [agents]taker
	for i := range takers {
		p.Join(fmt.Sprint(i), &takers[i])
		p.Has(fmt.Sprint(i))
	}
	// Each agent takes what it is offered, and then the next one sees it.
	sent := map[int]int{}
	for done := false; !done; {
		done = true
		for i := range takers {
			for _, piece := range takers[i].offered {
				sent[piece]++
				done = false
				takers[i].offered = takers[i].offered[1:]
				p.Has(fmt.Sprint(i), piece)
				p.Has(fmt.Sprint((i+1)%agents), piece)
			}
		}
	}
	require.Len(t, sent, pieces, "every piece goes out")
	twice := 0
	for _, n := range sent {
		twice += n - 1
	}
	require.LessOrEqual(t, twice, spare, "few go out again")
}

func TestPlanLooksAfterTheStarved(t *testing.T) {
	p := NewOffers(100, 256<<10)
	p.again = 0
	slow, alone := &taker{}, &taker{}
	p.Join("slow", slow)
	p.Has("slow")
	require.Len(t, slow.offered, fewSlots)
	p.HasAll("slow")
	p.Join("alone", alone)
	p.Has("alone")
	require.Empty(t, alone.offered, "others have every piece")
	p.Tick(time.Now(), 0)
	require.Empty(t, alone.offered, "they get their time")
	p.Tick(time.Now().Add(starved+time.Second), 0)
	require.Len(t, alone.offered, alonePieces, "but nobody is left out")
	for i := 0; i < len(alone.offered); i++ {
		p.Has("alone", alone.offered[i])
	}
	require.Len(t, alone.offered, 100, "who is alone gets everything, without another wait")
}

func TestPlanTrustsThatPeersGive(t *testing.T) {
	p := NewOffers(100, 256<<10)
	p.again = 0
	first, second := &taker{}, &taker{}
	p.Join("first", first)
	p.HasAll("first")
	p.Join("second", second)
	p.Has("second")
	p.Tick(time.Now().Add(2*starved), 0)
	offered := len(second.offered)
	require.Positive(t, offered)
	p.Has("second", lacked(second.offered))
	for _, piece := range second.offered {
		p.Has("second", piece)
	}
	require.Len(t, second.offered, offered, "a piece came from a peer: no more from the node")

	p.Leave("first", first)
	p.Has("second", lacked(second.offered))
	require.Greater(t, len(second.offered), offered, "what went with an agent is new again")
}

// lacked returns a piece that was not offered.
func lacked(offered []int) int {
	for i := 0; ; i++ {
		if !slices.Contains(offered, i) {
			return i
		}
	}
}
