package node

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/regions/gossip"
)

func TestChooseCoordinator(t *testing.T) {
	node := func(id, region string, load int) gossip.Member {
		return gossip.Member{ID: id, Region: region, Load: load, Alive: true}
	}
	dead := func(m gossip.Member) gossip.Member { m.Alive = false; return m }
	far := map[string]time.Duration{"us1": 90 * time.Millisecond, "uk1": 10 * time.Millisecond}
	for name, c := range map[string]struct {
		policy, held, want string
		members            []gossip.Member
	}{
		"the first of the region":              {"nearest", "", "eu1", []gossip.Member{node("eu2", "eu", 0), node("eu1", "eu", 90), node("as1", "as", 0)}},
		"who has it keeps it":                  {"nearest", "eu2", "eu2", []gossip.Member{node("eu1", "eu", 0), node("eu2", "eu", 0)}},
		"another when it is silent":            {"nearest", "eu2", "eu1", []gossip.Member{node("eu1", "eu", 0), dead(node("eu2", "eu", 0))}},
		"the nearest region stands in":         {"nearest", "eu1", "uk1", []gossip.Member{dead(node("eu1", "eu", 0)), node("us1", "us", 0), node("uk1", "uk", 99)}},
		"who stands in keeps it":               {"nearest", "us1", "us1", []gossip.Member{dead(node("eu1", "eu", 0)), node("us1", "us", 0), node("uk1", "uk", 0)}},
		"and gives it back":                    {"nearest", "us1", "eu1", []gossip.Member{node("eu1", "eu", 99), node("us1", "us", 0)}},
		"the least loaded":                     {"least_loaded", "", "eu2", []gossip.Member{node("eu1", "eu", 50), node("eu2", "eu", 20), node("us1", "us", 0)}},
		"a little less load moves nothing":     {"least_loaded", "eu1", "eu1", []gossip.Member{node("eu1", "eu", 40), node("eu2", "eu", 20)}},
		"much less load does":                  {"least_loaded", "eu1", "eu2", []gossip.Member{node("eu1", "eu", 45), node("eu2", "eu", 20)}},
		"the pinned one":                       {"pinned:eu2", "eu1", "eu2", []gossip.Member{node("eu1", "eu", 0), node("eu2", "eu", 99)}},
		"the pinned one, of another region":    {"pinned:us1", "eu1", "us1", []gossip.Member{node("eu1", "eu", 0), node("us1", "us", 0)}},
		"another while the pinned is silent":   {"pinned:eu2", "eu2", "eu1", []gossip.Member{node("eu1", "eu", 0), dead(node("eu2", "eu", 0)), node("us1", "us", 0)}},
		"nobody":                               {"nearest", "eu1", "", []gossip.Member{dead(node("eu1", "eu", 0))}},
		"no distance is further than any":      {"nearest", "", "us1", []gossip.Member{node("as1", "as", 0), node("us1", "us", 0)}},
		"an equal one by id, without distance": {"nearest", "", "as1", []gossip.Member{node("au1", "au", 0), node("as1", "as", 0)}},
	} {
		require.Equal(t, c.want, chooseCoordinator("eu", c.policy, c.held, c.members, far), name)
	}
}
