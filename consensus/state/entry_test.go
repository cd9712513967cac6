package state

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

var update = flag.Bool("update", false, "rewrite the golden files of the current entry schema")

// samples has one body of each type, in an order that all of them apply.
func samples() []body {
	meta := func(n int64) *Metadata { return &Metadata{n, []byte("{}")} }
	failed := api.Report{
		ID: "p1", CommandID: "r1:a1", State: api.StateFailed, At: epoch.Add(time.Nanosecond),
		Failure:  &api.Failure{Class: api.ErrorNetwork, Message: "no peers"},
		Transfer: &api.Transfer{FromPeers: 1, FromNodes: 2, ToPeers: 3, Total: 4, Done: 3},
	}
	retried, exit := failed, 3
	retried.CommandID = "r3:a1"
	retried.Log = &api.ExecutionLog{ExitCode: &exit, Stdout: "out", Stderr: "err", Cut: true, Steps: []api.Step{{Name: "download", Millis: 12}}}
	return []body{
		InitCluster{"c1", []byte("pem"), []byte("ca"), []byte("online"), []byte("pkix"), digest("operator")},
		PutNode{Node: api.Node{ID: "n1", Region: "eu", MeshAddr: "n1:7421", KeyID: hexDigest("n1")}},
		token("t1", api.TokenAgent, 3, map[string]string{"site": "a"}),
		enrol("a1", "eu", "t1", map[string]string{"role": "kiosk", "floor": "1"}),
		PutTrust{Root: meta(1)},
		artifact("app", "1.0.0", 1),
		rollout("r1", api.Selector{Regions: []string{"eu"}, Labels: map[string]string{"role": "kiosk"}}),
		lease("a1", "r1:a1"),
		report("a1", failed),
		rollout("r2", api.Selector{All: true}),
		CancelRollout{"r2"},
		ChangeSettings{Values: map[api.SettingKey]string{api.SettingDebug: "true"}, By: "operator"},
		Tick{},
		Announce{"n1", 2},
		batchOf(report("a1", says("p1", "r1:a1", api.StateFailed))),
		RevokeToken{"t1"},
		RemoveNode{"n1"},
		PutOnlineKey{Sealed: []byte("next"), Public: []byte("next pkix")},
		EditSettings{
			Layer: "label:role=kiosk", Values: map[api.SettingKey]string{api.SettingPollIdle: "30s", api.SettingDebug: "true"},
			For: time.Hour, By: "operator", CorrelationID: hexDigest("s")[:32],
		},
		EditSettings{Undoes: 1, By: "operator"},
		EditSettings{Layer: "agent:a1", Values: map[api.SettingKey]string{api.SettingDebug: "true"}, By: "operator"},
		planned(rollout("r3", api.Selector{All: true}), fullPlan()),
		lease("a1", "r3:a1"),
		report("a1", retried),
		lease("a1", "r3:a1:2"),
		CancelCommand{"r3:a1:2"},
		ChangeRollout{ID: "r3", Action: api.RolloutPause, Reason: "lunch"},
		ChangeCA{Version: 0, Stage: api.CASpread, Authorities: []byte("pem, next"), SealedKey: []byte("ca"), SealedNext: []byte("next")},
		ConfirmTrust{Members: []Confirmation{{ID: "a1", Version: 7, Issuer: "ab"}, {Node: true, ID: "n9", Version: 7, Issuer: "ab"}}},
		RevokeAgent{ID: "a1", Until: epoch.Add(time.Hour)},
		Audit{Records: []api.AuditRecord{{Who: "alice", Action: "POST /v1/rollouts", From: "192.0.2.1"}}},
		PutOperator{Operator: api.Operator{ID: "alice", Role: api.OperatorRuns, Scope: &api.Selector{Regions: []string{"eu"}}}, SecretHash: digest("alice")},
		RevokeOperator{"alice"},
		token("t2", api.TokenAgent, 1, nil),
		enrol("a2", "us", "t2", map[string]string{"floor": "2"}),
		LabelAgent{AgentID: "a2", Set: map[string]string{"role": "till"}, Remove: []string{"floor"}},
		PutNode{Node: api.Node{ID: "n2", Region: "eu", MeshAddr: "n2:7421", KeyID: hexDigest("n2")}},
		AssignCoordinators{Leases: []CoordinatorLease{{Region: "eu", Node: "n2", For: 15 * time.Second, HandOver: true}}},
	}
}

// fullPlan sets every field of a plan.
func fullPlan() api.Plan {
	return api.Plan{
		Waves: []api.Wave{{Agents: 1}, {Percent: 50}}, RegionOrder: []string{"eu", "us"},
		SuccessPercent: 90, MaxFailurePercent: 20, Dynamic: true,
		Windows: []api.Window{{Days: []int{1, 2}, From: 60, To: 120, Zone: "Europe/Berlin"}},
		Gates:   api.Gates{DiskFree: 1, LoadPercent: 2, Power: true, Battery: 3, PackageLock: true},
		Retries: api.RetryPolicy{api.ErrorNetwork: {Tries: 2, Base: 0, Limit: api.Duration(time.Minute)}},
		Timeout: api.Duration(time.Hour), Expiry: api.Duration(24 * time.Hour),
	}
}

func planned(e CreateRollout, p api.Plan) CreateRollout {
	e.Plan = &p
	return e
}

// The bytes of an entry, and what the entries make of an empty state, must
// never change: old logs are replayed by new versions.
func TestGoldenEntries(t *testing.T) {
	r := newRig(t)
	seen := map[EntryType]int{}
	for i, b := range samples() {
		entry, err := EncodeEntry(b.entryType(), epoch.Add(time.Duration(i)*time.Second), b)
		require.NoError(t, err)
		name := fmt.Sprintf("%02d.hex", b.entryType())
		if seen[b.entryType()]++; seen[b.entryType()] > 1 {
			name = fmt.Sprintf("%02d-%d.hex", b.entryType(), seen[b.entryType()])
		}
		golden(t, name, entry)
		_, decoded, err := decodeEntry(entry)
		require.NoError(t, err)
		if b.entryType() == TypeBatch {
			records, err := DecodeBatch(entry)
			require.NoError(t, err)
			decoded = Batch{records}
		}
		require.Equal(t, b, decoded)
	}
	require.Len(t, seen, len(bodies), "a type has no sample")
	r.must(samples()...)
	sum, err := r.Hash()
	require.NoError(t, err)
	golden(t, "state.hex", sum)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "schema1", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o750))
		require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), hex.EncodeToString(got)+"\n", name)
}

func TestEncodeEntry(t *testing.T) {
	byValue, err := EncodeEntry(TypeTick, epoch, Tick{})
	require.NoError(t, err)
	byPointer, err := EncodeEntry(TypeTick, epoch, &Tick{})
	require.NoError(t, err)
	require.Equal(t, byValue, byPointer)
	require.Equal(t, TypeTick, TypeOfEntry(byValue))
	_, err = EncodeEntry(TypeLease, epoch, Tick{})
	require.Error(t, err)
	_, err = EncodeEntry(TypeTick, epoch, "tick")
	require.Error(t, err)
	large := ChangeSettings{By: string(make([]byte, MaxEntry))}
	_, err = EncodeEntry(TypeChangeSettings, epoch, large)
	require.Equal(t, api.CodeTooLarge, api.CodeOf(err))
	_, err = EncodeEntry(TypePutTrust, epoch, PutTrust{Root: &Metadata{1, make([]byte, MaxEntry)}})
	require.NoError(t, err, "metadata may be larger")
}

// What this version cannot apply stops it, with nothing changed.
func TestCorruptEntries(t *testing.T) {
	r := busy(t)
	before, applied := r.hash(), r.Applied()
	tick, err := EncodeEntry(TypeTick, epoch, Tick{})
	require.NoError(t, err)
	change := func(at int, to byte) []byte {
		e := append([]byte(nil), tick...)
		e[at] = to
		return e
	}
	for name, entry := range map[string][]byte{
		"nothing":        nil,
		"short":          tick[:entryHeader-1],
		"magic":          change(0, 0),
		"schema":         change(1, 2),
		"type":           change(3, 99),
		"body":           change(entryHeader, 0xFF),
		"no body":        tick[:entryHeader],
		"trailing bytes": append(change(0, entryMagic), 0),
	} {
		require.ErrorIs(t, CheckEntry(entry), ErrCorrupt, name)
		results, err := r.Apply(Entry{applied + 1, tick}, Entry{applied + 2, entry}, Entry{applied + 3, tick})
		require.ErrorIs(t, err, ErrCorrupt, name)
		if applied == r.Applied()-1 {
			require.Len(t, results, 1)
			applied, before = r.Applied(), r.hash()
		}
		require.Equal(t, before, r.hash(), name)
	}
}

func TestApplySkipsWhatWasApplied(t *testing.T) {
	r := busy(t)
	before := r.hash()
	entry, err := EncodeEntry(TypeCancelRollout, epoch, CancelRollout{"r1"})
	require.NoError(t, err)
	for _, index := range []uint64{0, 1, r.index} {
		results, err := r.Apply(Entry{index, entry})
		require.NoError(t, err)
		require.Equal(t, []Result{{Index: index}}, results)
	}
	require.Equal(t, before, r.hash())
}

func TestResultCrossesTheWire(t *testing.T) {
	want := Result{Index: 7, Errors: []*api.Error{nil, api.Errorf(api.CodeConflict, "no").WithHint("try")}}
	b, err := marshal(want)
	require.NoError(t, err)
	var got Result
	require.NoError(t, unmarshal(b, &got))
	require.Equal(t, want, got)
	require.EqualError(t, got.Err(), "no (try)")
	require.NoError(t, Result{Errors: []*api.Error{nil}}.Err())
}

func TestClosed(t *testing.T) {
	r := busy(t)
	require.NoError(t, r.Close())
	require.NoError(t, r.Close())
	_, err := r.Apply(Entry{r.index + 1, mustEncode(t, Tick{})})
	require.ErrorIs(t, err, ErrClosed)
	_, err = r.Snapshot()
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, r.Flush(), ErrClosed)
	require.Empty(t, r.Nodes())
	require.Empty(t, r.Agents("", 0, nil))
	require.Empty(t, r.Rollouts())
	_, ok := r.Agent("a1")
	require.False(t, ok)
}

func mustEncode(tb testing.TB, b body) []byte {
	tb.Helper()
	entry, err := EncodeEntry(b.entryType(), epoch, b)
	require.NoError(tb, err)
	return entry
}
