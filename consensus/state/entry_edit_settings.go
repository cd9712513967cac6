package state

import (
	"time"

	"redflag/api"
)

const (
	// keptChanges is how many changes of settings stay in the history.
	keptChanges = 5000
	// maxLabelLayers bounds what is compared with the labels of each agent that
	// polls.
	maxLabelLayers = 256
	maxEditKeys    = 256
	maxBy          = 256
	// byExpiry is who takes a value back whose time is over.
	byExpiry = "expiry"
)

// EditSettings sets keys on one layer, all or none; an empty value takes a key
// off. With Undoes it takes a change back instead, unless something has changed
// since. The version of the settings is the entry's log index.
//
// Whether a value fits the schema was checked by the node that took the
// request: a log must mean the same to a version with another schema.
type EditSettings struct {
	Layer         string                    `cbor:"1,keyasint,omitempty"`
	Values        map[api.SettingKey]string `cbor:"2,keyasint,omitempty"`
	For           time.Duration             `cbor:"3,keyasint,omitempty"`
	IfVersion     uint64                    `cbor:"4,keyasint,omitempty"`
	By            string                    `cbor:"5,keyasint,omitempty"`
	CorrelationID string                    `cbor:"6,keyasint,omitempty"`
	Undoes        uint64                    `cbor:"7,keyasint,omitempty"`
}

func (EditSettings) entryType() EntryType { return TypeEditSettings }

func (e EditSettings) apply(t *tx) []*api.Error { return one(e.edit(t)) }

func (e EditSettings) edit(t *tx) *api.Error {
	if v := t.machine.index.settings.version(); e.IfVersion != 0 && e.IfVersion != v {
		return api.Errorf(api.CodeStale, "the settings are at version %d, not %d", v, e.IfVersion).
			WithHint("look at them again, then repeat the change")
	}
	if e.Undoes != 0 {
		return e.undo(t)
	}
	layer, err := e.check(t)
	if err != nil {
		return err
	}
	var expires time.Time
	if e.For > 0 {
		expires = t.now.Add(e.For)
	}
	edits := make([]api.SettingEdit, 0, len(e.Values))
	for k, v := range e.Values {
		edit := api.SettingEdit{Key: k, New: v}
		if v != "" {
			edit.Expires = expires
		}
		edits = append(edits, edit)
	}
	t.editSettings(layer, edits, api.SettingsRecord{By: e.By, CorrelationID: e.CorrelationID})
	return nil
}

// check refuses what no layer could hold.
func (e EditSettings) check(t *tx) (api.SettingsLayer, *api.Error) {
	layer, err := api.ParseSettingsLayer(e.Layer)
	if err != nil {
		return layer, refusal(err)
	}
	if len(e.Values) == 0 || len(e.Values) > maxEditKeys || e.For < 0 {
		return layer, api.Errorf(api.CodeInvalid, "a change names 1 to %d settings", maxEditKeys)
	}
	sets := false
	for k, v := range e.Values {
		if !api.ValidID(string(k)) || len(v) > api.MaxSettingValue {
			return layer, api.Errorf(api.CodeInvalid, "setting %.200q or its value cannot be one", string(k))
		}
		sets = sets || v != ""
	}
	if !sets {
		return layer, nil
	}
	return layer, t.checkLayer(layer)
}

// checkLayer refuses a layer for nobody, and one label layer too many.
func (t *tx) checkLayer(layer api.SettingsLayer) *api.Error {
	switch layer.Kind {
	case api.LayerAgent:
		if _, ok := t.machine.index.ordinals[layer.Name]; !ok {
			return api.Errorf(api.CodeNotFound, "there is no agent %q", layer.Name).WithHint("redflag agents")
		}
	case api.LayerNode:
		if !t.get(idKey(keyNode, layer.Name), &api.Node{}) {
			return api.Errorf(api.CodeNotFound, "there is no node %q", layer.Name).WithHint("redflag nodes")
		}
	case api.LayerLabel:
		x := t.machine.index.settings
		if _, known := x.rows[layer.String()]; !known && x.labelLayers() >= maxLabelLayers {
			return api.Errorf(api.CodeConflict, "%d label layers are too many", maxLabelLayers).
				WithHint("unset one first: redflag settings --layers")
		}
	case api.LayerCluster, api.LayerRegion:
	}
	return nil
}

// undo puts back what a change replaced.
func (e EditSettings) undo(t *tx) *api.Error {
	var done api.SettingsRecord
	if !t.get(historyKey(e.Undoes), &done) {
		return api.Errorf(api.CodeNotFound, "there is no change %d of the settings", e.Undoes).WithHint("redflag settings history")
	}
	if done.UndoneBy != 0 {
		return api.Errorf(api.CodeConflict, "change %d was undone by change %d", e.Undoes, done.UndoneBy)
	}
	layer, err := api.ParseSettingsLayer(done.Layer)
	if err != nil {
		return refusal(err)
	}
	row := t.machine.index.settings.rows[layer.String()].row
	back := make([]api.SettingEdit, 0, len(done.Edits))
	for _, edit := range done.Edits {
		if row.Values[edit.Key] != edit.New {
			return api.Errorf(api.CodeConflict, "setting %s has changed since, to %q by change %d", edit.Key, row.Values[edit.Key], row.Details[edit.Key].Change).
				WithHint("undo that one first, or set the value that you want")
		}
		old := api.SettingEdit{Key: edit.Key, New: edit.Old, Expires: edit.OldExpires}
		if !old.Expires.IsZero() && !t.now.Before(old.Expires) {
			old.New, old.Expires = "", time.Time{} // its time is over
		}
		back = append(back, old)
	}
	change := t.editSettings(layer, back, api.SettingsRecord{By: e.By, CorrelationID: e.CorrelationID, Undoes: e.Undoes})
	done.UndoneBy = change
	t.put(historyKey(e.Undoes), done)
	return nil
}

// expireSettings takes back the values whose time is over.
func (t *tx) expireSettings() {
	x := t.machine.index.settings
	if x.nextExpiry.IsZero() || t.now.Before(x.nextExpiry) {
		return
	}
	for _, name := range x.names() {
		l := x.rows[name]
		var edits []api.SettingEdit
		for k, d := range l.row.Details {
			if !d.Expires.IsZero() && !t.now.Before(d.Expires) {
				edits = append(edits, api.SettingEdit{Key: k})
			}
		}
		if len(edits) > 0 {
			t.editSettings(l.layer, edits, api.SettingsRecord{By: byExpiry})
		}
	}
}
