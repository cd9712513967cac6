package api

import (
	"strconv"
	"time"
)

// SettingType says how a setting's value is written.
type SettingType string

// The types of a setting.
const (
	SettingBool     SettingType = "bool"
	SettingDuration SettingType = "duration"
	SettingRate     SettingType = "rate"
	SettingBytes    SettingType = "bytes"
)

// SettingKey names a replicated setting.
type SettingKey string

// The settings that this version knows.
const (
	SettingDebug           SettingKey = "debug"
	SettingPollIdle        SettingKey = "poll.idle"
	SettingPollPending     SettingKey = "poll.pending"
	SettingPollDownloading SettingKey = "poll.downloading"
	SettingPollInstalling  SettingKey = "poll.installing"
	SettingPollFailing     SettingKey = "poll.failing"
	SettingAgentDownload   SettingKey = "agent.download_limit"
	SettingAgentUpload     SettingKey = "agent.upload_limit"
	SettingNodeUpload      SettingKey = "node.upload_limit"
	SettingNodeDownload    SettingKey = "node.download_limit"
	SettingPayloadMax      SettingKey = "payload.max_size"
)

// SettingSpec describes one setting: what it affects, its default and range.
type SettingSpec struct {
	Key         SettingKey  `json:"key"`
	Type        SettingType `json:"type"`
	Default     string      `json:"default"`
	Min         string      `json:"min,omitempty"`
	Max         string      `json:"max,omitempty"`
	Description string      `json:"description"`
}

// SettingSpecs is the schema, in the order that people read it.
var SettingSpecs = []SettingSpec{
	{SettingDebug, SettingBool, "false", "", "", "debug lines in the logs of every node and agent"},
	{SettingPollIdle, SettingDuration, "60s", "1s", "24h", "poll interval of an agent with nothing to do"},
	{SettingPollPending, SettingDuration, "5s", "100ms", "1h", "poll interval when a command waits for the agent"},
	{SettingPollDownloading, SettingDuration, "10s", "100ms", "1h", "poll interval while an agent downloads"},
	{SettingPollInstalling, SettingDuration, "5s", "100ms", "1h", "poll interval while an agent installs"},
	{SettingPollFailing, SettingDuration, "10s", "100ms", "1h", "poll interval of an agent whose last command failed"},
	{SettingAgentDownload, SettingRate, "unlimited", "64kbit", "", "swarm download cap of each agent, on the wire"},
	{SettingAgentUpload, SettingRate, "unlimited", "64kbit", "", "swarm upload cap of each agent, on the wire"},
	{SettingNodeUpload, SettingRate, "unlimited", "64kbit", "", "swarm upload cap of each node, on the wire"},
	{SettingNodeDownload, SettingRate, "unlimited", "64kbit", "", "swarm download cap of each node, on the wire"},
	{SettingPayloadMax, SettingBytes, "16GiB", "1KiB", "1TiB", "largest payload that may be published"},
}

// Spec returns the schema of a key.
func Spec(key SettingKey) (SettingSpec, bool) {
	for _, s := range SettingSpecs {
		if s.Key == key {
			return s, true
		}
	}
	return SettingSpec{}, false
}

// CheckSetting returns a CodeInvalid error when value cannot be key's.
func CheckSetting(key SettingKey, value string) error {
	spec, ok := Spec(key)
	if !ok {
		return Errorf(CodeInvalid, "setting %q is not known", key).WithHint("redflag settings lists them")
	}
	v, err := spec.number(value)
	if err != nil {
		return Errorf(CodeInvalid, "setting %s: %v", key, err)
	}
	if spec.Type == SettingRate && v == 0 {
		return nil // unlimited is always in range
	}
	if lo, _ := spec.number(spec.Min); spec.Min != "" && v < lo {
		return Errorf(CodeInvalid, "setting %s: %s is below the minimum of %s", key, value, spec.Min)
	}
	if hi, _ := spec.number(spec.Max); spec.Max != "" && v > hi {
		return Errorf(CodeInvalid, "setting %s: %s is above the maximum of %s", key, value, spec.Max)
	}
	return nil
}

func (s SettingSpec) number(value string) (int64, error) {
	switch s.Type {
	case SettingBool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return 0, Errorf(CodeInvalid, "%q is neither true nor false", value)
		}
		if b {
			return 1, nil
		}
		return 0, nil
	case SettingDuration:
		var d Duration
		err := d.UnmarshalText([]byte(value))
		return int64(d), err
	case SettingRate:
		r, err := ParseRate(value)
		return int64(r), err
	default:
		b, err := ParseBytes(value)
		return int64(b), err
	}
}

// Settings is the replicated settings at one version. A key that is not in
// Values has its default.
type Settings struct {
	Version uint64                `json:"version"` // log index of the last change
	Values  map[SettingKey]string `json:"values"`
}

// Get returns the value of key as text.
func (s Settings) Get(key SettingKey) string {
	if v, ok := s.Values[key]; ok {
		return v
	}
	spec, _ := Spec(key)
	return spec.Default
}

func (s Settings) number(key SettingKey) int64 {
	spec, _ := Spec(key)
	v, err := spec.number(s.Get(key))
	if err != nil { // an older version's value: the default still works
		v, _ = spec.number(spec.Default)
	}
	return v
}

// Bool returns the value of a SettingBool.
func (s Settings) Bool(key SettingKey) bool { return s.number(key) != 0 }

// Duration returns the value of a SettingDuration.
func (s Settings) Duration(key SettingKey) time.Duration { return time.Duration(s.number(key)) }

// Rate returns the value of a SettingRate.
func (s Settings) Rate(key SettingKey) Rate { return Rate(s.number(key)) }

// Bytes returns the value of a SettingBytes.
func (s Settings) Bytes(key SettingKey) int64 { return s.number(key) }

// SettingsChange sets keys; an empty value puts a key back to its default.
type SettingsChange struct {
	Values map[SettingKey]string `json:"values"`
}

// Validate returns a CodeInvalid error when any of the changes is not possible.
func (c *SettingsChange) Validate() error {
	if len(c.Values) == 0 {
		return Errorf(CodeInvalid, "no setting was named").WithHint("redflag settings set KEY=VALUE")
	}
	for k, v := range c.Values {
		if _, ok := Spec(k); ok && v == "" {
			continue
		}
		if err := CheckSetting(k, v); err != nil {
			return err
		}
	}
	return nil
}
