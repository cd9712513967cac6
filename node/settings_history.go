package node

import (
	"net/http"
	"strconv"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
)

// explainSettings says for an agent or a node which layer decides each key.
func (n *Node) explainSettings(r *http.Request) (any, error) {
	target, some, err := n.settingsTarget(r)
	if err != nil {
		return nil, err
	}
	if !some {
		return nil, api.Errorf(api.CodeInvalid, "for whom?").WithHint("add ?agent=ID or ?node=ID")
	}
	only := api.SettingKey(r.URL.Query().Get("key"))
	if _, ok := api.Spec(only); only != "" && !ok {
		return nil, api.Errorf(api.CodeNotFound, "setting %q is not known", string(only)).WithHint("redflag settings lists them")
	}
	layers := n.state().ExplainSettings(target)
	out := []api.SettingExplained{}
	for _, spec := range api.SettingSpecs {
		if only != "" && only != spec.Key {
			continue
		}
		e := api.SettingExplained{Key: spec.Key, Value: spec.Default, Default: true, Layers: layers[spec.Key]}
		if k := len(e.Layers); k > 0 {
			e.Value, e.Default = e.Layers[k-1].Value, false
		} else {
			e.Layers = []api.SettingValue{}
		}
		out = append(out, e)
	}
	return out, nil
}

// settingsHistory lists changes, the newest first.
func (n *Node) settingsHistory(r *http.Request) (any, error) {
	limit, err := pageLimit(r)
	if err != nil {
		return nil, err
	}
	before := uint64(0)
	if s := r.URL.Query().Get("after"); s != "" {
		if before, err = changeNumber(s); err != nil {
			return nil, err
		}
	}
	items := n.state().SettingsHistory(before, limit)
	return newPage(items, limit, func(c api.SettingsRecord) string { return strconv.FormatUint(c.Change, 10) }), nil
}

// undoSettings puts back what a change replaced, as a change of its own.
func (n *Node) undoSettings(r *http.Request) (any, error) {
	change, err := changeNumber(r.PathValue("change"))
	if err != nil {
		return nil, err
	}
	edit := state.EditSettings{Undoes: change, By: operator(r), CorrelationID: api.Correlation(r.Context())}
	if err := ifMatch(r, &edit.IfVersion); err != nil {
		return nil, err
	}
	res, err := n.propose(r.Context(), state.TypeEditSettings, edit)
	if err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("settings change undone", "change", change, "index", res.Index)
	record, _ := n.state().SettingsRecordAt(change)
	return record, nil
}

func changeNumber(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil || v == 0 {
		return 0, api.Errorf(api.CodeInvalid, "%.40q is not the number of a change", s).WithHint("redflag settings history")
	}
	return v, nil
}
