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
	"redflag/trust"
	"redflag/trust/pki"
)

// expiry is the end of something that somebody must renew.
type expiry struct {
	what, advice string
	at           time.Time
}

const (
	ownCertificate = "this node's certificate"
	day            = 24 * time.Hour
)

// alarms are how long before an end an operator hears of it; the last is
// critical. The first is the default of a setting that can move it.
var alarms = []time.Duration{30 * day, 7 * day, day}

func checkCertificates(n *Node, v *healthView) finding {
	ends, err := n.expiries()
	if err != nil {
		return critical("a certificate cannot be read: "+err.Error(), "restore the identity folder of the data directory from a backup")
	}
	slices.SortFunc(ends, func(a, b expiry) int { return a.at.Compare(b.at) })
	n.sound(ends, v.now)
	near := v.settings.Duration(api.SettingHealthExpiry)
	var said []string
	for _, e := range ends {
		switch left := e.at.Sub(v.now); {
		case left <= 0:
			said = append(said, fmt.Sprintf("%s expired on %s", e.what, e.at.Format(time.DateOnly)))
		case left < near:
			said = append(said, fmt.Sprintf("%s expires in %s, on %s", e.what, leftText(left), e.at.Format(time.DateOnly)))
		}
	}
	first := ends[0]
	left := first.at.Sub(v.now)
	detail := strings.Join(said, "; ")
	switch {
	case len(said) == 0:
		return ok(fmt.Sprintf("%s expires first, on %s", first.what, first.at.Format(time.DateOnly)))
	case left <= 0, left < alarms[len(alarms)-1] && first.what != ownCertificate:
		return critical(detail, first.advice)
	default:
		return warn(detail, first.advice)
	}
}

func leftText(left time.Duration) string {
	if left >= 2*day {
		return fmt.Sprintf("%d days", left/day)
	}
	return left.Round(time.Hour).String()
}

// sound logs once for each alarm that something has come to, also after a
// restart: the log is where the alarm is looked for.
func (n *Node) sound(ends []expiry, now time.Time) {
	n.monitor.mu.Lock()
	defer n.monitor.mu.Unlock()
	if n.monitor.alarmed == nil {
		n.monitor.alarmed = map[string]time.Duration{}
	}
	for _, e := range ends {
		key := e.what + e.at.String()
		reached := alarmOf(e.at.Sub(now))
		if reached == 0 || n.monitor.alarmed[key] == reached || e.what == ownCertificate {
			continue
		}
		n.monitor.alarmed[key] = reached
		log := n.log.Warn
		if reached == alarms[len(alarms)-1] {
			log = n.log.Error
		}
		log("expires soon", "what", e.what, "at", e.at.UTC().Format(time.RFC3339), "days", int(reached/day), "next", e.advice)
	}
}

// alarmOf returns the shortest alarm that left is within, 0 for none.
func alarmOf(left time.Duration) (reached time.Duration) {
	for _, a := range alarms {
		if left <= a {
			reached = a
		}
	}
	return reached
}

// expiriesOf is expiries as the API shows them, the next first.
func (n *Node) expiriesOf() []api.Expiry {
	ends, err := n.expiries()
	if err != nil {
		return nil // the check says so
	}
	out := make([]api.Expiry, len(ends))
	for i, e := range ends {
		out[i] = api.Expiry{What: e.what, At: e.at.UTC()}
	}
	slices.SortFunc(out, func(a, b api.Expiry) int { return a.At.Compare(b.At) })
	return out
}

// expiries lists the ends that come near. Snapshot and timestamp live for days
// and are renewed by the leader at half their life: they count once they are
// late. So does this node's certificate, which renews itself at two thirds.
func (n *Node) expiries() ([]expiry, error) {
	own, err := os.ReadFile(n.path("identity", "cert.pem"))
	if err != nil {
		return nil, err
	}
	at, err := certificateEnd(own)
	if err != nil {
		return nil, err
	}
	now := n.cfg.Clock()
	var ends []expiry
	if at.Sub(now) <= n.certificateLife()/6 {
		ends = append(ends, expiry{ownCertificate, "it renews itself at two thirds of its life; look at its log, and at who leads: redflag nodes", at})
	}
	authorities, err := pki.Bundle(n.creds.Authorities())
	if err != nil {
		return nil, err
	}
	for i, a := range authorities {
		what := "the cluster's CA"
		if i > 0 {
			what = "the CA " + a.ID[:8]
		}
		ends = append(ends, expiry{what, "redflag ca rotate", a.NotAfter})
	}
	if last, found := n.lastAdmin(now); found {
		ends = append(ends, last)
	}
	return append(ends, n.metadataEnds(now)...), nil
}

// lastAdmin is the end of the admin's token that is valid longest, once it has a third
// of its life left: after it nobody can make another. The founder's never ends, while
// it is not revoked.
func (n *Node) lastAdmin(now time.Time) (last expiry, found bool) {
	if _, hash, _ := n.operator(api.Founder); len(hash) > 0 {
		return expiry{}, false
	}
	for _, op := range n.state().Operators() {
		if op.Role == api.OperatorAdmin && op.RevokedAt.IsZero() && op.ExpiresAt.After(last.at) {
			last = expiry{"the last admin's token (" + op.ID + ")", "redflag operator create NAME --role admin", op.ExpiresAt}
			found = op.ExpiresAt.Sub(now) <= op.ExpiresAt.Sub(op.CreatedAt)/3
		}
	}
	return last, found
}

func (n *Node) metadataEnds(now time.Time) (ends []expiry) {
	delegated := n.delegated()
	for role := range n.state().TrustVersions() {
		advice := "the leader renews it; look at its log"
		switch role {
		case state.RoleSnapshot, state.RoleTimestamp:
		case state.RoleRoot:
			advice = "redflag keys renew root"
		case state.RoleTargets:
			advice = "publish anything, or: redflag keys renew targets"
		default:
			if !slices.Contains(delegated, role) {
				continue // it was taken away: nobody asks for its file any more
			}
			advice = "publish anything of it, or: redflag keys renew " + role
		}
		online := role == state.RoleSnapshot || role == state.RoleTimestamp
		if at, found := n.metadataEnd(role); found && (!online || at.Before(now)) {
			ends = append(ends, expiry{"the signed " + role + " metadata", advice, at})
		}
	}
	return ends
}

// delegated lists the roles that targets delegates to.
func (n *Node) delegated() (roles []string) {
	targets, _ := n.currentMetadata(state.RoleTargets)
	all, err := trust.Delegations(targets)
	if err != nil {
		return nil // there are none yet
	}
	for _, d := range all {
		roles = append(roles, d.Role)
	}
	return roles
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
