package trust

import (
	"errors"
	"fmt"
	"slices"

	"redflag/api"
)

// ErrWrongMachine says that the operator signed a target for other machines.
var ErrWrongMachine = errors.New("signed for other machines")

// Machine is what a target's constraints are held against.
type Machine struct {
	OS, Arch  string
	Labels    map[string]string
	Installed string // version of the artifact; empty for none
}

// HardwareLabel is the label that says what kind of machine an agent is.
const HardwareLabel = "hardware"

// AppliesTo returns an ErrWrongMachine error for a machine that the operator has
// not signed the target for.
func (t *Target) AppliesTo(m Machine) error {
	f := t.Custom.For
	if f == nil {
		return nil
	}
	for _, c := range []struct {
		what string
		have string
		want []string
	}{
		{"operating system", m.OS, f.OS},
		{"architecture", m.Arch, f.Arch},
		{"hardware", m.Labels[HardwareLabel], f.Hardware},
	} {
		if len(c.want) > 0 && !slices.Contains(c.want, c.have) {
			return fmt.Errorf("target %s: %w: its %s is one of %q, this machine's is %q", t.Path, ErrWrongMachine, c.what, c.want, c.have)
		}
	}
	for k, v := range f.Labels {
		if have, ok := m.Labels[k]; !ok || have != v {
			return fmt.Errorf("target %s: %w: it is for label %s=%s", t.Path, ErrWrongMachine, k, v)
		}
	}
	if f.MinInstalled == "" || m.Installed == "" {
		return nil
	}
	order, err := CompareVersions(m.Installed, f.MinInstalled)
	if err != nil {
		return err
	}
	if order < 0 {
		return fmt.Errorf("target %s: %w: it updates %s or later, %s is installed", t.Path, ErrWrongMachine, f.MinInstalled, m.Installed)
	}
	return nil
}

// checkFor returns what is wrong with constraints, or "".
func checkFor(f *api.TargetFor) string {
	if f == nil {
		return ""
	}
	for _, list := range [][]string{f.OS, f.Arch, f.Hardware} {
		if len(list) > 32 || slices.ContainsFunc(list, func(s string) bool { return !api.ValidID(s) }) {
			return "its constraints name what is no valid name"
		}
	}
	if err := api.CheckLabels(f.Labels); err != nil {
		return err.Error()
	}
	if f.MinInstalled != "" && CheckVersion(f.MinInstalled) != nil {
		return "the least installed version is no version"
	}
	return ""
}
