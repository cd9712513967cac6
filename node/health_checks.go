package node

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"redflag/api"
)

// minDiskFree is what uploads and downloads leave for the log and the state, in
// bytes.
const minDiskFree = 256 << 20

// lastContactFactor is how many Raft timeouts a follower may hear nothing.
const lastContactFactor = 3

func checkRaft(n *Node, v *healthView) finding {
	voters := len(v.raft.Voters)
	alive := 0
	for _, p := range v.peers {
		if p.Voter && p.Alive {
			alive++
		}
	}
	lag := int64(0)
	if leader, ok := v.probes[v.raft.LeaderID]; ok {
		lag = int64(leader.AppliedIndex) - int64(v.raft.AppliedIndex)
	}
	switch most := v.settings.Int(api.SettingHealthRaftLag); {
	case v.raft.LeaderID == "":
		return critical("no leader is known", "a majority of the voters must run and reach each other: see redflag nodes")
	case v.stale > maxStale:
		return critical(silence(v.stale), "check the network between this node and "+v.raft.LeaderID)
	case v.raft.LeaderID != n.cfg.ID && !v.raft.LastContact.IsZero() && time.Since(v.raft.LastContact) > lastContactFactor*n.cfg.RaftTimeout:
		return warn(fmt.Sprintf("the leader was last heard %s ago", time.Since(v.raft.LastContact).Round(time.Millisecond)),
			"check the network between this node and "+v.raft.LeaderID+", and its load")
	case lag > most:
		return warn(fmt.Sprintf("%d log entries behind the leader", lag), "it catches up by itself; if it does not, check its disk and its network")
	case voters > 2 && alive*2 < voters+2:
		return warn(fmt.Sprintf("%d of %d voters are alive, one more loss stops all changes", alive, voters),
			"start the silent voters again: see redflag nodes")
	default:
		return ok(fmt.Sprintf("the leader is %s, %d of %d voters are alive", v.raft.LeaderID, alive, voters))
	}
}

// silence says how long no leader was heard; before the first time Stale is
// longer than any process lives.
func silence(stale time.Duration) string {
	if stale > 100*365*24*time.Hour {
		return "has not heard a leader since it started"
	}
	return fmt.Sprintf("has heard no leader for %s", stale.Round(time.Second))
}

func checkGossip(_ *Node, v *healthView) finding {
	var silent []string
	for _, p := range v.peers {
		if !p.Alive {
			silent = append(silent, p.ID)
		}
	}
	if len(silent) > 0 {
		return warn("silent: "+strings.Join(silent, ", "),
			"start it again, or remove it for good with: redflag nodes remove "+silent[0])
	}
	return ok(fmt.Sprintf("%d nodes are alive", len(v.peers)))
}

func checkDisk(_ *Node, v *healthView) finding {
	least := v.settings.Bytes(api.SettingHealthDiskFree)
	free := api.Bytes(v.disk.free).String() + " free"
	switch slow := v.settings.Duration(api.SettingHealthFsync); {
	case v.disk.err != nil:
		return critical("the data directory cannot be written: "+v.disk.err.Error(), "check the data directory and its file system")
	case v.disk.free < least:
		return critical(free, "free disk: the replicated log must be able to grow")
	case v.disk.free < 4*least:
		return warn(free, "free disk, or move the data directory to a larger one")
	case v.disk.fsync > slow:
		return warn(fmt.Sprintf("a synced write took %s", v.disk.fsync.Round(time.Millisecond)), "move the data directory to a faster disk, or take load off this one")
	default:
		return ok(fmt.Sprintf("%s, a synced write takes %s", free, v.disk.fsync.Round(100*time.Microsecond)))
	}
}

// checkClock blames this node only when it differs from most of the others.
func checkClock(_ *Node, v *healthView) finding {
	if len(v.probes) == 0 {
		return ok("there is no other node to compare with")
	}
	skews := make([]time.Duration, 0, len(v.probes))
	for _, p := range v.probes {
		skews = append(skews, p.skew)
	}
	slices.SortFunc(skews, func(a, b time.Duration) int { return int(a.Abs() - b.Abs()) })
	skew := skews[(len(skews)-1)/2].Abs() // most are at least this far off
	most := v.settings.Duration(api.SettingHealthClock)
	detail := fmt.Sprintf("the clock differs by %s from most other nodes'", skew.Round(time.Millisecond))
	advice := "set the clock, and run a time service such as chrony"
	switch {
	case skew > 10*most:
		return critical(detail, advice)
	case skew > most:
		return warn(detail, advice)
	default:
		return ok(fmt.Sprintf("within %s of most other nodes", max(skew.Round(time.Millisecond), time.Millisecond)))
	}
}
