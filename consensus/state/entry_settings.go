package state

import (
	"redflag/api"
)

// ChangeSettings sets keys, all or none; an empty value puts a key back to its
// default. The version of the settings is the entry's log index. EditSettings
// has taken its place; logs still hold it.
type ChangeSettings struct {
	Values map[api.SettingKey]string `cbor:"1,keyasint"`
	By     string                    `cbor:"2,keyasint,omitempty"`
}

func (ChangeSettings) entryType() EntryType { return TypeChangeSettings }

func (e ChangeSettings) apply(t *tx) []*api.Error {
	change := api.SettingsChange{Values: e.Values}
	if err := change.Validate(); err != nil {
		return one(refusal(err))
	}
	var row settingsRow
	t.get(keySettings, &row)
	if row.Values == nil {
		row.Values = map[api.SettingKey]string{}
	}
	for k, v := range e.Values {
		if v == "" {
			delete(row.Values, k)
		} else {
			row.Values[k] = v
		}
	}
	for k := range e.Values {
		delete(row.Details, k)
	}
	row.Version, row.By = t.index, e.By
	t.putLayer(api.SettingsLayer{}, row)
	return one(nil)
}
