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
	const pieces, agents, length = 64, 8, 256 << 10
	p := NewOffers(pieces, length)
	var takers [agents]taker
	for i := range takers {
		p.Join(fmt.Sprint(i), &takers[i])
		p.Has(fmt.Sprint(i))
	}
	// Each agent takes what it is offered, and then the next one sees it.
	sent := map[int]int{}
	total := int64(0)
	for start, done := time.Now(), false; !done; {
		p.Tick(start, total*length) // no time passes in which somebody would starve
		done = true
		for i := range takers {
			for _, piece := range takers[i].offered {
				sent[piece]++
				total++
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
	require.LessOrEqual(t, twice, pieces/3, "few go out again")
}

func TestPlanLooksAfterTheStarved(t *testing.T) {
	p := NewOffers(100, 256<<10)
	p.repeats = true // and nothing is left to send again
	p.before = -100 << 20
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

// Over a thin uplink most agents wait for a first piece, and are not alone.
func TestPlanGivesTimeForAFirstPiece(t *testing.T) {
	const agents, length = 8, 256 << 10
	p := NewOffers(100, length)
	var takers [agents]taker
	for i := range takers {
		p.Join(fmt.Sprint(i), &takers[i])
		p.Has(fmt.Sprint(i))
	}
	now := time.Now()
	p.Tick(now, 0)
	p.Tick(now.Add(2*time.Second), length) // half a piece per second: 16 s for all
	p.Tick(now.Add(10*time.Second), 5*length)
	for _, a := range p.joined {
		require.False(t, a.alone)
	}
	p.Tick(now.Add(20*time.Second), 10*length)
	alone := 0
	for _, a := range p.joined {
		if a.alone {
			alone++
		}
	}
	require.Positive(t, alone, "but nobody waits for ever")
}

// Second offers come as the payload spreads, and to the agent that is behind.
func TestPlanHelpsTheHindmost(t *testing.T) {
	const pieces, length = 100, 256 << 10
	p := NewOffers(pieces, length)
	first, last := &taker{}, &taker{}
	p.Join("first", first)
	p.Join("last", last)
	for i := range pieces { // each was offered once, and nothing is open
		p.offers[i] = 1
	}
	p.agents["last"].unseen[99] = true // it has more to do than the other
	p.Has("first", 0)
	require.Len(t, last.offered, 1, "not as many as there are slots")
	require.Empty(t, first.offered, "who is ahead waits")
	for i := 1; i < 40; i++ {
		p.Has("first", i)
	}
	require.Len(t, last.offered, openPieces, "more as the payload spreads")
}

func TestPlanSendsWhatIsSmallAtOnce(t *testing.T) {
	const length = 16 << 10
	p := NewOffers(1, length)
	now, sent := time.Now(), int64(0) // no time passes in which somebody would starve
	for range 10 {                    // the agents of a module that runs again and again
		var takers [3]taker
		for i := range takers {
			p.Join(fmt.Sprint(i), &takers[i])
			p.Has(fmt.Sprint(i))
		}
		for i := range takers {
			require.Equal(t, []int{0}, takers[i].offered, "agent %d waits for nobody", i)
			p.Has(fmt.Sprint(i), 0)
			sent += length
			p.Tick(now, sent)
		}
		for i := range takers {
			p.Leave(fmt.Sprint(i), &takers[i])
		}
	}
}

func TestPlanForgetsACopyThatLeft(t *testing.T) {
	p := NewOffers(1, 4<<20)
	var a, b, c taker
	for id, to := range map[string]*taker{"a": &a, "b": &b, "c": &c} {
		p.Join(id, to)
		p.Has(id)
	}
	p.agents["a"].open[0], p.agents["b"].open[0], p.offers[0] = true, true, 2
	p.Has("c", 0)
	p.Leave("c", &c)
	require.Equal(t, 2, p.offers[0], "it is on its way to two")
	p.Leave("a", &a)
	p.Leave("b", &b)
	require.Zero(t, p.offers[0])
}

func TestPlanTrustsThatPeersGive(t *testing.T) {
	p := NewOffers(100, 256<<10)
	p.repeats = true // and nothing is left to send again
	p.before = -100 << 20
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
