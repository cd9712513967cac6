package main

import (
	"github.com/spf13/pflag"

	"redflag/api"
)

// forFlags say which machines may install what is published.
type forFlags struct{ api.TargetFor }

func (c *forFlags) add(f *pflag.FlagSet) {
	f.StringSliceVar(&c.OS, "os", nil, "only these systems may install it: linux, windows, darwin; signed, whatever a rollout selects")
	f.StringSliceVar(&c.Arch, "arch", nil, "only these processors: amd64, arm64, …")
	f.StringSliceVar(&c.Hardware, "hardware", nil, "only agents whose label hardware is one of these")
	f.StringVar(&c.MinInstalled, "min-installed", "", "only update from this version or a later one; a machine without the artifact passes")
	f.StringToStringVar(&c.Labels, "label", nil, "only agents that enrolled with this label, KEY=VALUE; may be repeated")
}

// machines is nil for all.
func (c *forFlags) machines() *api.TargetFor {
	if len(c.OS)+len(c.Arch)+len(c.Hardware)+len(c.Labels) == 0 && c.MinInstalled == "" {
		return nil
	}
	return &c.TargetFor
}
