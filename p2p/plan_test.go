package p2p

import (
	"fmt"
	"slices"
	"testing"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"
	"github.com/stretchr/testify/require"
)

// taker is an agent of a test: it lists what it was offered.
type taker struct{ offered []int }

func (t *taker) offer(piece int) { t.offered = append(t.offered, piece) }

func have(i int) *pp.Message { return &pp.Message{Type: pp.Have, Index: pp.Integer(i)} }

func TestPlanGivesEachPieceOnce(t *testing.T) {
	const pieces, agents = 64, 8
	p := newPlan(pieces, minPieceLength)
	spare := p.again
	var takers [agents]taker
	for i := range takers {
		p.join(fmt.Sprint(i), &takers[i])
		p.heard(fmt.Sprint(i), &pp.Message{Type: pp.HaveNone})
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
				p.heard(fmt.Sprint(i), have(piece))
				p.heard(fmt.Sprint((i+1)%agents), have(piece))
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
	p := newPlan(100, minPieceLength)
	p.again = 0
	slow, alone := &taker{}, &taker{}
	p.join("slow", slow)
	p.heard("slow", &pp.Message{Type: pp.HaveNone})
	require.Len(t, slow.offered, fewSlots)
	p.heard("slow", &pp.Message{Type: pp.HaveAll})
	p.join("alone", alone)
	p.heard("alone", &pp.Message{Type: pp.HaveNone})
	require.Empty(t, alone.offered, "others have every piece")
	p.tick(time.Now(), 0)
	require.Empty(t, alone.offered, "they get their time")
	p.tick(time.Now().Add(starved+time.Second), 0)
	require.Len(t, alone.offered, alonePieces, "but nobody is left out")
	for i := 0; i < len(alone.offered); i++ {
		p.heard("alone", have(alone.offered[i]))
	}
	require.Len(t, alone.offered, 100, "who is alone gets everything, without another wait")
}

func TestPlanTrustsThatPeersGive(t *testing.T) {
	p := newPlan(100, minPieceLength)
	p.again = 0
	first, second := &taker{}, &taker{}
	p.join("first", first)
	p.heard("first", &pp.Message{Type: pp.HaveAll})
	p.join("second", second)
	p.heard("second", &pp.Message{Type: pp.HaveNone})
	p.tick(time.Now().Add(2*starved), 0)
	offered := len(second.offered)
	require.Positive(t, offered)
	p.heard("second", have(lacked(second.offered)))
	for _, piece := range second.offered {
		p.heard("second", have(piece))
	}
	require.Len(t, second.offered, offered, "a piece came from a peer: no more from the node")

	p.leave("first", first)
	p.heard("second", have(lacked(second.offered)))
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
