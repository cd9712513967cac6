package plan

import "time"

const (
	// enoughPeers is how many connections a download wants before it announces
	// at the tracker's interval only.
	enoughPeers = 10
	// hurry is the time between announces of a download that wants peers.
	hurry = 2 * time.Second
	// The tracker's interval is taken between these.
	minInterval = time.Second
	maxInterval = 10 * time.Minute

	// leastRequests is how many blocks are asked of each peer at least. Few
	// outstanding requests keep them where they can be served soon, and keep
	// duplicates rare: with 16 peers, 4 of each wasted 1 % and 8 wasted 2 %.
	leastRequests = 4
	// behindShare is how much less than others an agent has that is behind.
	behindShare = 1. / 32
)

// AskedAtOnce is how many blocks are asked of all peers of the region together.
const AskedAtOnce = 64

// BehindAsks is how many times as many blocks an agent asks for that is behind.
const BehindAsks = 4

// NextAnnounce is the time until a machine announces again, before jitter: as
// the tracker says, but soon if it is missing pieces and has few peers.
func NextAnnounce(tracker time.Duration, missing bool, peers int) time.Duration {
	interval := min(max(tracker, minInterval), maxInterval)
	if missing && peers < enoughPeers {
		interval = min(interval, hurry)
	}
	return interval
}

// Slice reports whether a piece is among those that the agent of this rank, of
// so many that fetch, should get first. Without slices machines that see alike
// would fetch the same pieces from the seed and have nothing for each other.
func Slice(piece, rank, size int) bool { return size > 1 && piece%size == rank }

// Requests is how many blocks may be asked of each of so many peers, of budget
// in all.
func Requests(budget, peers int) int { return max(leastRequests, budget/max(1, peers)) }

// Behind reports whether an agent that has a part of the payload falls behind
// others that fetch it and have theirs. Requests of a machine with a busy uplink
// come late: with as few of them as others have, it gets less, and it ends the
// rollout.
func Behind(has float64, others []float64) bool {
	sum := 0.
	for _, o := range others {
		sum += o
	}
	return has*float64(len(others)) < (1-behindShare)*sum
}
