package node

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"redflag/api"
	"redflag/consensus/state"
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

// expiry is the end of something that somebody must renew.
type expiry struct {
	what, advice string
	at           time.Time
}

const (
	ownCertificate = "this node's certificate"
	// expiryCritical is when what people must renew is no warning any more.
	expiryCritical = 24 * time.Hour
)

func checkCertificates(n *Node, v *healthView) finding {
	ends, err := n.expiries()
	if err != nil {
		return critical("a certificate cannot be read: "+err.Error(), "restore the identity folder of the data directory from a backup")
	}
	slices.SortFunc(ends, func(a, b expiry) int { return a.at.Compare(b.at) })
	first := ends[0]
	left := first.at.Sub(v.now)
	switch {
	case left <= 0:
		return critical(fmt.Sprintf("%s expired on %s", first.what, first.at.Format(time.DateOnly)), first.advice)
	case left < expiryCritical && first.what != ownCertificate:
		return critical(fmt.Sprintf("%s expires in %s, on %s", first.what, left.Round(time.Hour), first.at.Format(time.DateOnly)), first.advice)
	case left < v.settings.Duration(api.SettingHealthExpiry):
		return warn(fmt.Sprintf("%s expires in %s, on %s", first.what, left.Round(time.Hour), first.at.Format(time.DateOnly)), first.advice)
	default:
		return ok(fmt.Sprintf("%s expires first, on %s", first.what, first.at.Format(time.DateOnly)))
	}
}

// expiries lists the ends that come near. Snapshot and timestamp live for days
// and are renewed by the leader at half their life: they count once they are
// over.
func (n *Node) expiries() ([]expiry, error) {
	own, err := os.ReadFile(n.path("identity", "cert.pem"))
	if err != nil {
		return nil, err
	}
	var ends []expiry
	for _, c := range []struct {
		what, advice string
		pem          []byte
	}{
		{ownCertificate, "it renews itself at two thirds of its life; look at its log, and at who leads: redflag nodes", own},
		{"the cluster's CA", "redflag ca rotate", n.creds.Authorities()},
	} {
		at, err := certificateEnd(c.pem)
		if err != nil {
			return nil, err
		}
		if c.what == ownCertificate && at.Sub(n.cfg.Clock()) > n.certificateLife()/6 {
			continue // it renews itself, and is not late
		}
		ends = append(ends, expiry{c.what, c.advice, at})
	}
	now := n.cfg.Clock()
	for role, advice := range map[string]string{
		state.RoleRoot:      "redflag keys renew root",
		state.RoleTargets:   "publish anything, or: redflag keys renew targets",
		state.RoleSnapshot:  "the leader renews it; look at its log",
		state.RoleTimestamp: "the leader renews it; look at its log",
	} {
		at, found := n.metadataEnd(role)
		offline := role == state.RoleRoot || role == state.RoleTargets
		if found && (offline || at.Before(now)) {
			ends = append(ends, expiry{"the signed " + role + " metadata", advice, at})
		}
	}
	return ends, nil
}

func certificateEnd(b []byte) (time.Time, error) {
	block, _ := pem.Decode(b)
	if block == nil {
		return time.Time{}, fmt.Errorf("no certificate in %d bytes", len(b))
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotAfter, nil
}

// metadataEnd reads the expiry of TUF metadata that was checked when it came.
func (n *Node) metadataEnd(role string) (time.Time, bool) {
	b, found := n.currentMetadata(role)
	if !found {
		return time.Time{}, false
	}
	var m struct {
		Signed struct {
			Expires time.Time `json:"expires"`
		} `json:"signed"`
	}
	if json.Unmarshal(b, &m) != nil {
		return time.Time{}, false
	}
	return m.Signed.Expires, true
}
