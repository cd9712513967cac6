package state

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"redflag/api"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// rig is a machine with a log of its own: entries are a second apart.
type rig struct {
	testing.TB
	*Machine
	fs    vfs.FS
	index uint64
	now   time.Time
}

func newRig(tb testing.TB) *rig {
	tb.Helper()
	return openRig(tb, vfs.NewMem())
}

func openRig(tb testing.TB, fs vfs.FS) *rig {
	tb.Helper()
	m, err := OpenFS(fs, "state")
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, m.Close()) })
	return &rig{TB: tb, Machine: m, fs: fs, now: epoch, index: m.Applied()}
}

// apply puts a body into the log and returns its result.
func (r *rig) apply(b body) Result {
	r.Helper()
	r.index++
	r.now = r.now.Add(time.Second)
	entry, err := EncodeEntry(b.entryType(), r.now, b)
	require.NoError(r, err)
	results, err := r.Apply(Entry{r.index, entry})
	require.NoError(r, err)
	require.Len(r, results, 1)
	require.Equal(r, r.index, results[0].Index)
	return results[0]
}

func (r *rig) must(bodies ...body) {
	r.Helper()
	for _, b := range bodies {
		require.NoError(r, r.apply(b).Err(), "%T", b)
	}
}

// refuses expects a code for a body with one record, and that nothing but the
// applied index changed.
func (r *rig) refuses(code api.Code, b body) {
	r.Helper()
	before := r.rows()
	got := r.apply(b)
	require.Len(r, got.Errors, 1)
	require.Equal(r, code, api.CodeOf(got.Err()), "%v", got.Err())
	require.Equal(r, before, r.rows(), "a refusal changed something")
}

// rows returns all rows but the applied index.
func (r *rig) rows() map[string]string {
	r.Helper()
	out := map[string]string{}
	require.NoError(r, scanRows(r.db, firstKey, lastKey, func(k, v []byte) (bool, error) {
		if string(k) != string(keyApplied) {
			out[string(k)] = string(v)
		}
		return true, nil
	}))
	return out
}

func (r *rig) hash() string {
	r.Helper()
	h, err := r.Hash()
	require.NoError(r, err)
	return hex.EncodeToString(h)
}

// Pending is what is due to an agent now, on a machine with no gates closed.
func (r *rig) Pending(agentID string, held []string, limit int) []api.Command {
	due, _ := r.Due(agentID, held, r.now, nil, limit)
	return due
}

func digest(s string) []byte { h := sha256.Sum256([]byte(s)); return h[:] }

func hexDigest(s string) string { return hex.EncodeToString(digest(s)) }

func token(id string, kind api.TokenKind, seats int, labels map[string]string) CreateToken {
	return CreateToken{
		Token:      api.Token{ID: id, Kind: kind, Seats: seats, Labels: labels},
		SecretHash: digest(id), TTL: 30 * 24 * time.Hour,
	}
}

func enrol(id, region, tokenID string, labels map[string]string) EnrolAgent {
	return EnrolAgent{
		Agent:   api.Agent{ID: id, Region: region, Labels: labels, KeyID: hexDigest(id)},
		TokenID: tokenID, TokenSecretHash: digest(tokenID),
	}
}

func artifact(name, version string, n int64) PublishArtifact {
	meta := func(role string) Metadata { return Metadata{n, fmt.Appendf(nil, "%s %d", role, n)} }
	return PublishArtifact{
		Artifact: api.Artifact{
			Name: name, Version: version, Length: 1 << 20, SHA256: hexDigest(name + version),
			InfoHash: hexDigest(name)[:40], PieceLength: 1 << 18, OriginNode: "n1",
		},
		Targets: meta(RoleTargets), Snapshot: meta(RoleSnapshot), Timestamp: meta(RoleTimestamp),
	}
}

func rollout(id string, s api.Selector) CreateRollout {
	return CreateRollout{
		ID: id, Kind: api.KindInstall, Artifact: "app", Version: "1.0.0", Selector: s,
		CorrelationID: hexDigest(id)[:32], CreatedBy: "operator",
	}
}

func lease(agent string, ids ...string) Lease {
	return Lease{AgentID: agent, CommandIDs: ids, NodeID: "n1", Duration: time.Minute}
}

func report(agent string, reports ...api.Report) Reports {
	return Reports{Agents: []AgentReports{{AgentID: agent, Reports: reports}}}
}

func says(id, commandID string, s api.State) api.Report {
	return api.Report{ID: id, CommandID: commandID, State: s, At: epoch}
}

// fleet founds a cluster of four agents, a1 to a3 in eu and a4 in us, with one
// published artifact and the rollout r1 to all of them.
func fleet(tb testing.TB) *rig {
	tb.Helper()
	r := newRig(tb)
	r.must(
		token("t1", api.TokenAgent, 100, nil),
		enrol("a1", "eu", "t1", map[string]string{"role": "kiosk"}),
		enrol("a2", "eu", "t1", map[string]string{"role": "till"}),
		enrol("a3", "eu", "t1", nil),
		enrol("a4", "us", "t1", map[string]string{"role": "kiosk"}),
		artifact("app", "1.0.0", 1),
		rollout("r1", api.Selector{All: true}),
	)
	return r
}
