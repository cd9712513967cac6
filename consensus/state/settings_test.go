package state

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func edit(layer string, values map[api.SettingKey]string) EditSettings {
	return EditSettings{Layer: layer, Values: values, By: "anna"}
}

func set(layer, value string) EditSettings {
	return edit(layer, map[api.SettingKey]string{api.SettingPollIdle: value})
}

func (r *rig) idleOf(agent string) string {
	r.Helper()
	a, ok := r.Agent(agent)
	require.True(r, ok)
	return r.SettingsFor(a.Target()).Get(api.SettingPollIdle)
}

// The narrower layer wins: cluster, region, label selector, agent; of two
// selectors the one that names more, then the one that was set later.
func TestSettingsLayers(t *testing.T) {
	r := fleet(t)
	r.must(enrol("a5", "us", "t1", map[string]string{"role": "kiosk", "floor": "1"}))
	for _, step := range []struct {
		edit EditSettings
		a1   string // eu, role=kiosk
		a5   string // us, role=kiosk, floor=1
	}{
		{set("", "2s"), "2s", "2s"},
		{set("region:eu", "3s"), "3s", "2s"},
		{set("label:role=kiosk", "4s"), "4s", "4s"},
		{set("label:floor=1", "5s"), "4s", "5s"},
		{set("label:role=kiosk", "6s"), "6s", "6s"}, // as many labels, set later
		{set("label:floor=1,role=kiosk", "7s"), "6s", "7s"},
		{set("label:role=kiosk", "8s"), "8s", "7s"}, // fewer labels
		{set("agent:a5", "9s"), "8s", "9s"},
		{set("label:role=kiosk", ""), "3s", "9s"},
		{set("agent:a5", ""), "3s", "7s"},
	} {
		before := r.SettingsFor(api.SettingsTarget{}).Version
		r.must(step.edit)
		require.Equal(t, []string{step.a1, step.a5}, []string{r.idleOf("a1"), r.idleOf("a5")}, "%v", step.edit)
		require.Greater(t, r.SettingsFor(api.SettingsTarget{}).Version, before, "every agent asks again")
	}
	require.Equal(t, "2s", r.Settings().Get(api.SettingPollIdle), "the flat view is the cluster's layer")
	node := r.SettingsFor(api.SettingsTarget{Node: "a1", Region: "us", Labels: map[string]string{"floor": "1"}})
	require.Equal(t, "2s", node.Get(api.SettingPollIdle), "labels and agents are not for nodes")

	a1, _ := r.Agent("a1")
	why := r.ExplainSettings(a1.Target())[api.SettingPollIdle]
	require.Len(t, why, 2)
	require.Equal(t, "region:eu", why[1].Layer.String())
	require.Equal(t, "anna", why[1].By)

	before := r.hash()
	require.NoError(t, r.Flush())
	require.NoError(t, r.Close())
	again := openRig(t, r.fs)
	require.Equal(t, "7s", again.idleOf("a5"), "layers come back from the disk")
	require.Equal(t, before, again.hash())
}

func TestSettingsRefusals(t *testing.T) {
	r := fleet(t)
	r.refuses(api.CodeInvalid, set("planet:earth", "1s"))
	r.refuses(api.CodeInvalid, set("region:", "1s"))
	r.refuses(api.CodeInvalid, EditSettings{})
	r.refuses(api.CodeInvalid, edit("", map[api.SettingKey]string{"a b": "1"}))
	r.refuses(api.CodeNotFound, set("agent:a99", "1s"))
	r.refuses(api.CodeNotFound, set("node:n99", "1s"))
	r.refuses(api.CodeNotFound, EditSettings{Undoes: 7})
	r.must(set("", "1s"))
	stale := set("", "2s")
	stale.IfVersion = 1
	r.refuses(api.CodeStale, stale)
	stale.IfVersion = r.Settings().Version
	r.must(stale)
	for i := range maxLabelLayers {
		r.must(set("label:n="+string(rune('a'+i%26))+string(rune('a'+i/26)), "1s"))
	}
	r.refuses(api.CodeConflict, set("label:one=more", "1s"))
	r.must(set("label:n=aa", "2s"))
}

// A value for a while goes by the leader's ticks, on every node alike.
func TestSettingsExpire(t *testing.T) {
	r := fleet(t)
	r.must(set("agent:a1", "9s"))
	debug := edit("agent:a1", map[api.SettingKey]string{api.SettingDebug: "true"})
	debug.For = 10 * time.Second
	r.must(debug)
	a1, _ := r.Agent("a1")
	require.True(t, r.SettingsFor(a1.Target()).Bool(api.SettingDebug))
	until := r.now.Add(10 * time.Second)
	for r.now.Before(until.Add(-time.Second)) {
		r.must(Tick{})
		require.True(t, r.SettingsFor(a1.Target()).Bool(api.SettingDebug))
	}
	before := r.Settings().Version
	r.must(Tick{})
	require.False(t, r.SettingsFor(a1.Target()).Bool(api.SettingDebug))
	require.Greater(t, r.Settings().Version, before, "agents must hear of it")
	require.Equal(t, "9s", r.idleOf("a1"), "what was set for good stays")
	newest := r.SettingsHistory(0, 1)[0]
	require.Equal(t, byExpiry, newest.By)
	require.Equal(t, "debug: true → unset", newest.String())
	rows := r.rows()
	delete(rows, string(keyTick))
	r.must(Tick{})
	again := r.rows()
	delete(again, string(keyTick))
	require.Equal(t, rows, again, "it goes once")
}

func TestSettingsHistoryAndUndo(t *testing.T) {
	r := fleet(t)
	r.must(set("region:eu", "1s"), set("region:eu", "2s"), set("", "3s"))
	all := r.SettingsHistory(0, 10)
	require.Len(t, all, 3)
	require.Equal(t, []uint64{3, 2, 1}, []uint64{all[0].Change, all[1].Change, all[2].Change})
	require.Equal(t, "poll.idle: 1s → 2s", all[1].String())
	require.Equal(t, "anna", all[1].By)
	require.Len(t, r.SettingsHistory(3, 1), 1)
	require.Equal(t, uint64(2), r.SettingsHistory(3, 1)[0].Change)

	r.refuses(api.CodeConflict, EditSettings{Undoes: 1}) // change 2 came after it
	r.must(EditSettings{Undoes: 2, By: "bert"})
	require.Equal(t, "1s", r.idleOf("a1"))
	r.refuses(api.CodeConflict, EditSettings{Undoes: 2})
	undone, ok := r.SettingsRecordAt(2)
	require.True(t, ok)
	require.Equal(t, uint64(4), undone.UndoneBy)
	r.must(EditSettings{Undoes: 4}) // undo the undo
	require.Equal(t, "2s", r.idleOf("a1"))

	for range keptChanges {
		r.must(set("", "4s"))
	}
	_, ok = r.SettingsRecordAt(5)
	require.False(t, ok, "the history is bounded")
	_, ok = r.SettingsRecordAt(6)
	require.True(t, ok)
}
