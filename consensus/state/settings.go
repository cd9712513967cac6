package state

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"redflag/api"
)

// settingsIndex keeps every layer in memory: each poll asks what the layers
// mean for one agent.
type settingsIndex struct {
	rows       map[string]layerRow // by layer; rows are replaced, never changed
	nextExpiry time.Time           // zero for none
}

type layerRow struct {
	layer api.SettingsLayer
	row   settingsRow
}

func newSettingsIndex() *settingsIndex {
	return &settingsIndex{rows: map[string]layerRow{}}
}

func (x *settingsIndex) load(r pebble.Reader) error {
	var cluster settingsRow
	if _, err := getRow(r, keySettings, &cluster); err != nil {
		return err
	}
	x.rows[string(api.LayerCluster)] = layerRow{row: cluster}
	from, to := kindSpan(keySettingsLayer)
	err := scanRows(r, from, to, func(key, value []byte) (bool, error) {
		layer, err := api.ParseSettingsLayer(string(key[1:]))
		if err != nil {
			return false, err
		}
		var row settingsRow
		err = unmarshal(value, &row)
		x.rows[layer.String()] = layerRow{layer, row}
		return true, err
	})
	x.findExpiry()
	return err
}

// set replaces a layer, and drops one that says nothing any more.
func (x *settingsIndex) set(layer api.SettingsLayer, row settingsRow) {
	name := layer.String()
	if len(row.Values) == 0 && name != string(api.LayerCluster) {
		delete(x.rows, name)
	} else {
		x.rows[name] = layerRow{layer, row}
	}
	x.findExpiry()
}

func (x *settingsIndex) findExpiry() {
	x.nextExpiry = time.Time{}
	for _, l := range x.rows {
		for _, d := range l.row.Details {
			if !d.Expires.IsZero() && (x.nextExpiry.IsZero() || d.Expires.Before(x.nextExpiry)) {
				x.nextExpiry = d.Expires
			}
		}
	}
}

func (x *settingsIndex) version() uint64 { return x.rows[string(api.LayerCluster)].row.Version }

func (x *settingsIndex) names() []string { return slices.Sorted(maps.Keys(x.rows)) }

func (x *settingsIndex) labelLayers() int {
	n := 0
	for _, l := range x.rows {
		if l.layer.Kind == api.LayerLabel {
			n++
		}
	}
	return n
}

// covering returns the layers that are about a target, the widest first.
func (x *settingsIndex) covering(t api.SettingsTarget) []layerRow {
	var out []layerRow
	add := func(name string) {
		if l, ok := x.rows[name]; ok {
			out = append(out, l)
		}
	}
	add(string(api.LayerCluster))
	add(api.SettingsLayer{Kind: api.LayerRegion, Name: t.Region}.String())
	if t.Agent != "" {
		for _, l := range x.rows {
			if l.layer.Kind == api.LayerLabel && l.layer.Covers(t) {
				out = append(out, l)
			}
		}
		add(api.SettingsLayer{Kind: api.LayerAgent, Name: t.Agent}.String())
	}
	if t.Node != "" {
		add(api.SettingsLayer{Kind: api.LayerNode, Name: t.Node}.String())
	}
	return out
}

// narrower orders two values of one key, the one that wins last: by the kind
// of layer, then by how many labels it names, then by which was set later.
func narrower(a, b api.SettingValue) int {
	return cmp.Or(
		cmp.Compare(layerRank[a.Layer.Kind], layerRank[b.Layer.Kind]),
		cmp.Compare(len(a.Layer.Labels), len(b.Layer.Labels)),
		cmp.Compare(a.Change, b.Change),
		cmp.Compare(a.Layer.String(), b.Layer.String()),
	)
}

var layerRank = map[api.LayerKind]int{api.LayerRegion: 1, api.LayerLabel: 2, api.LayerAgent: 3, api.LayerNode: 4}

// values returns what a layer sets, in order of the keys.
func (l layerRow) values() []api.SettingValue {
	out := make([]api.SettingValue, 0, len(l.row.Values))
	for _, k := range slices.Sorted(maps.Keys(l.row.Values)) {
		d := l.row.Details[k]
		out = append(out, api.SettingValue{
			Layer: l.layer, Key: k, Value: l.row.Values[k], By: d.By, At: d.At, Expires: d.Expires, Change: d.Change,
		})
	}
	return out
}

// putLayer writes a layer to its row and to memory.
func (t *tx) putLayer(layer api.SettingsLayer, row settingsRow) {
	key := keySettings
	if name := layer.String(); name != string(api.LayerCluster) {
		key = idKey(keySettingsLayer, name)
	}
	if len(row.Values) == 0 && layer.Kind != "" && layer.Kind != api.LayerCluster {
		t.delete(key)
	} else {
		t.put(key, row)
	}
	t.machine.index.settings.set(layer, row)
}

// editSettings carries out edits of one layer and remembers them as a change,
// whose number it returns. Edits name the key and what comes; what was before
// is filled in.
func (t *tx) editSettings(layer api.SettingsLayer, edits []api.SettingEdit, record api.SettingsRecord) uint64 {
	x := t.machine.index.settings
	cluster := x.rows[string(api.LayerCluster)].row
	cluster.Changes++
	cluster.Version = t.index
	record.Change, record.Version, record.At = cluster.Changes, t.index, t.now
	record.By, record.Layer = cut(record.By, maxBy), layer.String()

	row := x.rows[layer.String()].row
	if record.Layer == string(api.LayerCluster) {
		row = cluster
	}
	row.Version, row.By = t.index, record.By
	row.Values, row.Details = cloned(row.Values), cloned(row.Details)
	slices.SortFunc(edits, func(a, b api.SettingEdit) int { return cmp.Compare(a.Key, b.Key) })
	for i, e := range edits {
		edits[i].Old, edits[i].OldExpires = row.Values[e.Key], row.Details[e.Key].Expires
		if e.New == "" {
			delete(row.Values, e.Key)
			delete(row.Details, e.Key)
			continue
		}
		row.Values[e.Key] = e.New
		row.Details[e.Key] = settingDetail{By: record.By, At: t.now, Expires: e.Expires, Change: record.Change}
	}
	record.Edits = edits
	if record.Layer != string(api.LayerCluster) {
		t.putLayer(api.SettingsLayer{}, cluster)
	}
	t.putLayer(layer, row)
	t.put(historyKey(record.Change), record)
	if record.Change > keptChanges {
		t.delete(historyKey(record.Change - keptChanges))
	}
	return record.Change
}

// cloned returns a copy of m that can be written to.
func cloned[K comparable, V any](m map[K]V) map[K]V {
	out := make(map[K]V, len(m)+1)
	maps.Copy(out, m)
	return out
}

// Settings returns the cluster's layer.
func (m *Machine) Settings() api.Settings {
	m.mu.RLock()
	defer m.mu.RUnlock()
	row := m.index.settings.rows[string(api.LayerCluster)].row
	return api.Settings{Version: row.Version, Values: row.Values}
}

// SettingsFor returns what all layers together mean for a node or an agent. The
// values are not to be written to.
func (m *Machine) SettingsFor(t api.SettingsTarget) api.Settings {
	m.mu.RLock()
	defer m.mu.RUnlock()
	x := m.index.settings
	layers := x.covering(t)
	if len(layers) == 1 { // the cluster's alone, for nearly every agent
		return api.Settings{Version: x.version(), Values: layers[0].row.Values}
	}
	best := map[api.SettingKey]api.SettingValue{}
	for _, l := range layers {
		for k, v := range l.row.Values {
			now := api.SettingValue{Layer: l.layer, Key: k, Value: v, Change: l.row.Details[k].Change}
			if have, ok := best[k]; !ok || narrower(have, now) < 0 {
				best[k] = now
			}
		}
	}
	out := api.Settings{Version: x.version(), Values: make(map[api.SettingKey]string, len(best))}
	for k, v := range best {
		out.Values[k] = v.Value
	}
	return out
}

// ExplainSettings returns, for each key that a layer sets for the target, the
// values in the order in which the later one wins.
func (m *Machine) ExplainSettings(t api.SettingsTarget) map[api.SettingKey][]api.SettingValue {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := map[api.SettingKey][]api.SettingValue{}
	for _, l := range m.index.settings.covering(t) {
		for _, v := range l.values() {
			out[v.Key] = append(out[v.Key], v)
		}
	}
	for _, values := range out {
		slices.SortFunc(values, narrower)
	}
	return out
}

// SettingsLayers returns what every layer sets, in order of the layers.
func (m *Machine) SettingsLayers() []api.SettingValue {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := []api.SettingValue{}
	for _, name := range m.index.settings.names() {
		out = append(out, m.index.settings.rows[name].values()...)
	}
	return out
}

// SettingsHistory returns up to limit changes before a number, 0 for the
// newest, the newest first.
func (m *Machine) SettingsHistory(before uint64, limit int) []api.SettingsRecord {
	limit = page(limit)
	from, to := kindSpan(keySettingsHistory)
	if before > 0 {
		to = historyKey(before)
	}
	it, err := m.rows(from, to)
	if err != nil {
		return nil
	}
	out := []api.SettingsRecord{}
	for ok := it.Last(); ok && len(out) < limit; ok = it.Prev() {
		var record api.SettingsRecord
		if err := unmarshal(it.Value(), &record); err != nil {
			m.fail(err)
			break
		}
		out = append(out, record)
	}
	m.fail(it.Close())
	return out
}

// SettingsRecordAt returns a change by its number.
func (m *Machine) SettingsRecordAt(change uint64) (api.SettingsRecord, bool) {
	var record api.SettingsRecord
	ok := m.read(historyKey(change), &record)
	return record, ok
}
