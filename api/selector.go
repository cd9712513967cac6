package api

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Selector says which agents a rollout is for. Fields that are set must all
// match; within Regions and Agents one match is enough. An empty selector
// matches nothing: to hit every agent one must say so.
type Selector struct {
	All     bool              `json:"all,omitempty" cbor:"1,keyasint,omitempty"`
	Regions []string          `json:"regions,omitempty" cbor:"2,keyasint,omitempty"`
	Labels  map[string]string `json:"labels,omitempty" cbor:"3,keyasint,omitempty"`
	Agents  []string          `json:"agents,omitempty" cbor:"4,keyasint,omitempty"`
}

// ParseSelector reads terms of the forms "all", "region:NAME[,NAME…]",
// "label:KEY=VALUE" and "agent:ID[,ID…]".
func ParseSelector(terms ...string) (Selector, error) {
	var s Selector
	for _, term := range terms {
		kind, value, _ := strings.Cut(strings.TrimSpace(term), ":")
		switch kind {
		case "all":
			if value != "" {
				return Selector{}, badSelector(term)
			}
			s.All = true
		case "region":
			s.Regions = append(s.Regions, splitList(value)...)
		case "agent":
			s.Agents = append(s.Agents, splitList(value)...)
		case "label":
			k, v, ok := strings.Cut(value, "=")
			if !ok {
				return Selector{}, badSelector(term)
			}
			if s.Labels == nil {
				s.Labels = map[string]string{}
			}
			s.Labels[strings.TrimSpace(k)] = strings.TrimSpace(v)
		default:
			return Selector{}, badSelector(term)
		}
	}
	return s, s.Validate()
}

func badSelector(term string) error {
	return Errorf(CodeInvalid, "selector %q is not understood", term).
		WithHint("use all, region:NAME, label:KEY=VALUE or agent:ID")
}

func splitList(s string) []string {
	parts := strings.Split(s, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// Validate returns a CodeInvalid error when the selector cannot be used.
func (s Selector) Validate() error {
	if s.IsEmpty() {
		return Errorf(CodeInvalid, "the selector is empty").
			WithHint("use all, region:NAME, label:KEY=VALUE or agent:ID")
	}
	for _, r := range s.Regions {
		if err := CheckID("region", r); err != nil {
			return err
		}
	}
	for _, a := range s.Agents {
		if err := CheckID("agent", a); err != nil {
			return err
		}
	}
	return CheckLabels(s.Labels)
}

// CheckLabels returns a CodeInvalid error when a key or a value is not one.
func CheckLabels(labels map[string]string) error {
	if len(labels) > 64 {
		return Errorf(CodeInvalid, "%d labels are too many", len(labels)).WithHint("use 64 at most")
	}
	for k, v := range labels {
		if err := CheckID("label key", k); err != nil {
			return err
		}
		if err := CheckID("label value", v); err != nil {
			return err
		}
	}
	return nil
}

// IsEmpty reports whether nothing was selected.
func (s Selector) IsEmpty() bool {
	return !s.All && len(s.Regions) == 0 && len(s.Labels) == 0 && len(s.Agents) == 0
}

// Matches reports whether the selector picks a.
func (s Selector) Matches(a *Agent) bool {
	if s.IsEmpty() {
		return false
	}
	if len(s.Regions) > 0 && !slices.Contains(s.Regions, a.Region) {
		return false
	}
	if len(s.Agents) > 0 && !slices.Contains(s.Agents, a.ID) {
		return false
	}
	for k, v := range s.Labels {
		if a.Labels[k] != v {
			return false
		}
	}
	return true
}

// String renders the selector as the terms ParseSelector reads.
func (s Selector) String() string {
	var terms []string
	if s.All {
		terms = append(terms, "all")
	}
	if len(s.Regions) > 0 {
		terms = append(terms, "region:"+strings.Join(s.Regions, ","))
	}
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		terms = append(terms, fmt.Sprintf("label:%s=%s", k, s.Labels[k]))
	}
	if len(s.Agents) > 0 {
		terms = append(terms, "agent:"+strings.Join(s.Agents, ","))
	}
	return strings.Join(terms, " ")
}
