package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// LayerKind is a kind of layer. Of two layers that set the same key, the later
// one in this list wins.
type LayerKind string

// The kinds of layer, from the widest to the narrowest.
const (
	LayerCluster LayerKind = "cluster"
	LayerRegion  LayerKind = "region"
	LayerLabel   LayerKind = "label"
	LayerAgent   LayerKind = "agent"
	LayerNode    LayerKind = "node"
)

// SettingsLayer is where a value is set. It reads and writes as "cluster",
// "region:NAME", "label:KEY=VALUE[,KEY=VALUE…]", "agent:ID" or "node:ID"; the
// zero value is the cluster's.
type SettingsLayer struct {
	Kind   LayerKind
	Name   string            // of the region, the agent or the node
	Labels map[string]string // of a label layer: all must match
}

// ParseSettingsLayer is the inverse of String.
func ParseSettingsLayer(s string) (SettingsLayer, error) {
	kind, name, _ := strings.Cut(s, ":")
	l := SettingsLayer{Kind: LayerKind(kind), Name: name}
	switch l.Kind {
	case "", LayerCluster:
		l.Kind = LayerCluster
	case LayerLabel:
		l.Name, l.Labels = "", map[string]string{}
		for term := range strings.SplitSeq(name, ",") {
			k, v, ok := strings.Cut(term, "=")
			if !ok {
				return l, badLayer(s)
			}
			l.Labels[k] = v
		}
	case LayerRegion, LayerAgent, LayerNode:
	default:
		return l, badLayer(s)
	}
	return l, l.validate(s)
}

func (l SettingsLayer) validate(s string) error {
	switch l.Kind {
	case LayerCluster:
		if l.Name != "" {
			return badLayer(s)
		}
		return nil
	case LayerLabel:
		return CheckLabels(l.Labels)
	default:
		return CheckID(string(l.Kind), l.Name)
	}
}

func badLayer(s string) error {
	return Errorf(CodeInvalid, "settings layer %.200q is not understood", s).
		WithHint("use cluster, region:NAME, label:KEY=VALUE, agent:ID or node:ID")
}

// String renders the layer; equal layers render alike.
func (l SettingsLayer) String() string {
	switch l.Kind {
	case "", LayerCluster:
		return string(LayerCluster)
	case LayerLabel:
		var terms []string
		for _, k := range slices.Sorted(maps.Keys(l.Labels)) {
			terms = append(terms, k+"="+l.Labels[k])
		}
		return "label:" + strings.Join(terms, ",")
	default:
		return string(l.Kind) + ":" + l.Name
	}
}

// MarshalText implements encoding.TextMarshaler.
func (l SettingsLayer) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *SettingsLayer) UnmarshalText(b []byte) (err error) {
	*l, err = ParseSettingsLayer(string(b))
	return err
}

// Holds returns a CodeInvalid error when a setting of this scope cannot be set
// on the layer.
func (s SettingSpec) Holds(l SettingsLayer) error {
	ok := false
	switch l.Kind {
	case "", LayerCluster:
		ok = true
	case LayerRegion:
		ok = s.Scope != ScopeCluster
	case LayerNode:
		ok = s.Scope == ScopeNode || s.Scope == ScopeEvery
	case LayerLabel, LayerAgent:
		ok = s.Scope == ScopeAgent || s.Scope == ScopeEvery
	}
	if ok {
		return nil
	}
	return Errorf(CodeInvalid, "setting %s cannot be set for %s", s.Key, l).
		WithHint("its scope is %s: %s", s.Scope, s.Description)
}

// SettingsTarget is a node or an agent, as the layers look at it.
type SettingsTarget struct {
	Region string
	Labels map[string]string
	Agent  string // empty for a node
	Node   string // empty for an agent
}

// Target returns the agent as the layers look at it.
func (a *Agent) Target() SettingsTarget {
	return SettingsTarget{Region: a.Region, Labels: a.Labels, Agent: a.ID}
}

// Covers reports whether the layer is about t.
func (l SettingsLayer) Covers(t SettingsTarget) bool {
	switch l.Kind {
	case "", LayerCluster:
		return true
	case LayerRegion:
		return l.Name == t.Region
	case LayerAgent:
		return t.Agent != "" && l.Name == t.Agent
	case LayerNode:
		return t.Node != "" && l.Name == t.Node
	case LayerLabel:
		if t.Agent == "" {
			return false
		}
		for k, v := range l.Labels {
			if t.Labels[k] != v {
				return false
			}
		}
		return true
	default:
		return false
	}
}

// SettingValue is a value on one layer: what it is, and who set it when.
type SettingValue struct {
	Layer   SettingsLayer `json:"layer"`
	Key     SettingKey    `json:"key"`
	Value   string        `json:"value"`
	By      string        `json:"by,omitempty"`
	At      time.Time     `json:"at,omitzero"`
	Expires time.Time     `json:"expires,omitzero"` // zero for never
	Change  uint64        `json:"change,omitempty"` // number of the change that set it
}

// SettingExplained says what a key is for one target, and why.
type SettingExplained struct {
	Key   SettingKey `json:"key"`
	Value string     `json:"value"`
	// Default says that no layer sets the key.
	Default bool `json:"default"`
	// Layers has the values that are set for the target, the winner last.
	Layers []SettingValue `json:"layers"`
}

// SettingsChange sets keys on one layer; an empty value takes the key off the
// layer, so that a wider layer or the default shows.
type SettingsChange struct {
	Values map[SettingKey]string `json:"values"`
	Layer  SettingsLayer         `json:"layer"`
	// For is how long the values hold; zero is for good.
	For Duration `json:"for,omitempty"`
	// IfVersion refuses the change when the settings have another version by
	// now; zero does not look. The header If-Match says the same.
	IfVersion uint64 `json:"if_version,omitempty"`
}

// Bounds of a change for a while.
const (
	minSettingsFor = time.Second
	maxSettingsFor = 366 * 24 * time.Hour
)

// Validate returns a CodeInvalid error when any of the changes is not possible.
func (c *SettingsChange) Validate() error {
	if len(c.Values) == 0 {
		return Errorf(CodeInvalid, "no setting was named").WithHint("redflag settings set KEY=VALUE")
	}
	if d := time.Duration(c.For); d != 0 && (d < minSettingsFor || d > maxSettingsFor) {
		return Errorf(CodeInvalid, "%s is out of range for a change that ends by itself", d).WithHint("use 1s to 8784h")
	}
	for k, v := range c.Values {
		spec, ok := Spec(k)
		if ok && v == "" {
			continue
		}
		if err := CheckSetting(k, v); err != nil {
			return err
		}
		if err := spec.Holds(c.Layer); err != nil {
			return err
		}
	}
	return nil
}

// SettingEdit is one key of a change that was made.
type SettingEdit struct {
	Key        SettingKey `json:"key" cbor:"1,keyasint"`
	Old        string     `json:"old" cbor:"2,keyasint,omitempty"` // empty for unset
	New        string     `json:"new" cbor:"3,keyasint,omitempty"`
	OldExpires time.Time  `json:"old_expires,omitzero" cbor:"4,keyasint,omitzero"`
	Expires    time.Time  `json:"expires,omitzero" cbor:"5,keyasint,omitzero"`
}

// SettingsRecord is a change that was made.
type SettingsRecord struct {
	Change        uint64        `json:"change" cbor:"1,keyasint"` // counts from 1
	Version       uint64        `json:"version" cbor:"2,keyasint"`
	At            time.Time     `json:"at" cbor:"3,keyasint"`
	By            string        `json:"by" cbor:"4,keyasint"`
	Layer         string        `json:"layer" cbor:"5,keyasint"`
	Edits         []SettingEdit `json:"edits" cbor:"6,keyasint"`
	CorrelationID string        `json:"correlation_id,omitempty" cbor:"7,keyasint,omitempty"`
	Undoes        uint64        `json:"undoes,omitempty" cbor:"8,keyasint,omitempty"`
	UndoneBy      uint64        `json:"undone_by,omitempty" cbor:"9,keyasint,omitempty"`
}

// String says it in one line.
func (r SettingsRecord) String() string {
	parts := make([]string, len(r.Edits))
	for i, e := range r.Edits {
		parts[i] = fmt.Sprintf("%s: %s → %s", e.Key, orUnset(e.Old), orUnset(e.New))
	}
	return strings.Join(parts, ", ")
}

func orUnset(v string) string {
	if v == "" {
		return "unset"
	}
	return v
}
