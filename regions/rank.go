package regions

import (
	"cmp"
	"slices"
	"time"

	"redflag/api"
)

// Rank returns a copy of nodes with the best first: those of region before
// all others, then by measured round trip, those without a measurement last,
// and by id where all else is equal. rtt is by node id; it may be nil.
func Rank(nodes []api.NodeAddr, region string, rtt map[string]time.Duration) []api.NodeAddr {
	ranked := slices.Clone(nodes)
	slices.SortStableFunc(ranked, func(a, b api.NodeAddr) int {
		da, knownA := rtt[a.ID]
		db, knownB := rtt[b.ID]
		return cmp.Or(
			yesFirst(a.Region == region, b.Region == region),
			yesFirst(knownA, knownB),
			cmp.Compare(da, db),
			cmp.Compare(a.ID, b.ID),
		)
	})
	return ranked
}

func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}
