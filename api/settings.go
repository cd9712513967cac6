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
	SettingInt      SettingType = "int"
	SettingText     SettingType = "text"
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

// SettingScope says whom a setting is about, and so on which layers it can be
// set.
type SettingScope string

// The scopes of a setting.
const (
	// ScopeCluster is one value for all: the cluster layer only.
	ScopeCluster SettingScope = "cluster"
	// ScopeNode can differ by region and by node.
	ScopeNode SettingScope = "node"
	// ScopeAgent can differ by region, by label selector and by agent.
	ScopeAgent SettingScope = "agent"
	// ScopeEvery is about nodes and agents alike.
	ScopeEvery SettingScope = "every"
)

// SettingSpec describes one setting: what it affects, its default and range.
type SettingSpec struct {
	Key         SettingKey   `json:"key"`
	Type        SettingType  `json:"type"`
	Default     string       `json:"default"`
	Min         string       `json:"min,omitempty"`
	Max         string       `json:"max,omitempty"`
	Scope       SettingScope `json:"scope"`
	Description string       `json:"description"` // what it affects
	// Unit is how a value is written.
	Unit string `json:"unit"`
	// Check refuses values of a SettingText that are not of its form.
	Check func(value string) error `json:"-"`
}

// SettingSpecs is the schema, in the order that people read it.
var SettingSpecs = withUnits([]SettingSpec{
	{Key: SettingDebug, Type: SettingBool, Default: "false", Scope: ScopeEvery, Description: "debug lines in the logs of nodes and agents"},
	{Key: SettingPollIdle, Type: SettingDuration, Default: "60s", Min: "1s", Max: "24h", Scope: ScopeAgent, Description: "poll interval of an agent with nothing to do"},
	{Key: SettingPollPending, Type: SettingDuration, Default: "5s", Min: "100ms", Max: "1h", Scope: ScopeAgent, Description: "poll interval when a command waits for the agent"},
	{Key: SettingPollDownloading, Type: SettingDuration, Default: "10s", Min: "100ms", Max: "1h", Scope: ScopeAgent, Description: "poll interval while an agent downloads"},
	{Key: SettingPollInstalling, Type: SettingDuration, Default: "5s", Min: "100ms", Max: "1h", Scope: ScopeAgent, Description: "poll interval while an agent installs"},
	{Key: SettingPollFailing, Type: SettingDuration, Default: "10s", Min: "100ms", Max: "1h", Scope: ScopeAgent, Description: "poll interval of an agent whose last command failed"},
	{Key: SettingAgentDownload, Type: SettingRate, Default: "unlimited", Min: "64kbit", Scope: ScopeAgent, Description: "swarm download cap of each agent, on the wire"},
	{Key: SettingAgentUpload, Type: SettingRate, Default: "unlimited", Min: "64kbit", Scope: ScopeAgent, Description: "swarm upload cap of each agent, on the wire"},
	{Key: SettingNodeUpload, Type: SettingRate, Default: "unlimited", Min: "64kbit", Scope: ScopeNode, Description: "swarm upload cap of each node, on the wire"},
	{Key: SettingNodeDownload, Type: SettingRate, Default: "unlimited", Min: "64kbit", Scope: ScopeNode, Description: "swarm download cap of each node, on the wire"},
	{Key: SettingPayloadMax, Type: SettingBytes, Default: "16GiB", Min: "1KiB", Max: "1TiB", Scope: ScopeCluster, Description: "largest payload that may be published"},
})

var unitOfType = map[SettingType]string{
	SettingBool:     "true or false",
	SettingDuration: "a duration, such as 30s or 5m",
	SettingRate:     "bits per second, such as 8mbit, or unlimited",
	SettingBytes:    "bytes, such as 512MiB",
	SettingInt:      "a whole number",
	SettingText:     "text",
}

func withUnits(specs []SettingSpec) []SettingSpec {
	for i := range specs {
		if specs[i].Unit == "" {
			specs[i].Unit = unitOfType[specs[i].Type]
		}
	}
	return specs
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
	if spec.Type == SettingText {
		return spec.checkText(value)
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

// MaxSettingValue bounds a value, in bytes.
const MaxSettingValue = 4 << 10

func (s SettingSpec) checkText(value string) error {
	if len(value) > MaxSettingValue {
		return Errorf(CodeInvalid, "setting %s: %d bytes are too many", s.Key, len(value)).WithHint("use %d at most", MaxSettingValue)
	}
	if s.Check == nil {
		return nil
	}
	if err := s.Check(value); err != nil {
		return Errorf(CodeInvalid, "setting %s: %v", s.Key, err)
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
	case SettingInt:
		v, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, Errorf(CodeInvalid, "%q is not a whole number", value)
		}
		return v, nil
	case SettingText:
		return 0, nil
	default:
		b, err := ParseBytes(value)
		return int64(b), err
	}
}

// Settings is the replicated settings at one version, as one layer has them or
// as all layers together mean them for one node or agent. A key that is not in
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

// Int returns the value of a SettingInt.
func (s Settings) Int(key SettingKey) int64 { return s.number(key) }
