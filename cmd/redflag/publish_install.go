package main

import (
	"time"

	"github.com/spf13/pflag"

	"redflag/api"
)

// installFlags say how a published payload is installed.
type installFlags struct {
	kind, module        string
	params              map[string]string
	checks              []string
	within, stepTimeout time.Duration
	unpack              bool
}

func (i *installFlags) add(f *pflag.FlagSet) {
	f.StringVar(&i.kind, "type", string(api.InstallFile), "how agents install it: file, archive, deb, exec, self or module")
	f.StringVar(&i.module, "module", "", "update module that installs it, for --type module")
	f.BoolVar(&i.unpack, "unpack", false, "the payload is an archive whose files the module gets one by one, for --type module")
	f.StringToStringVar(&i.params, "param", nil, "parameter for scripts and modules, KEY=VALUE; may be repeated")
	f.StringArrayVar(&i.checks, "check", nil, "health check after the install: command:LINE, http:URL, tcp:HOST:PORT or unit:NAME; may be repeated")
	f.DurationVar(&i.within, "check-within", 0, "time in which every check must pass (default 1m)")
	f.DurationVar(&i.stepTimeout, "step-timeout", 0, "time for each script or package manager call (default 10m)")
}

// install is nil for a plain file, which needs no word.
func (i *installFlags) install() (*api.Install, error) {
	how := &api.Install{
		Type: api.InstallType(i.kind), Module: i.module, Params: i.params,
		CheckWithin: api.Duration(i.within), StepTimeout: api.Duration(i.stepTimeout),
	}
	if i.unpack {
		how.UnpackedFiles = 1 // measured when it is published
	}
	for _, s := range i.checks {
		c, err := api.ParseHealthCheck(s)
		if err != nil {
			return nil, usageError{err}
		}
		how.Checks = append(how.Checks, c)
	}
	if how.Kind() == api.InstallFile && len(how.Checks) == 0 && len(how.Params) == 0 && how.CheckWithin == 0 && how.StepTimeout == 0 {
		return nil, nil //nolint:nilnil // a plain file needs no word
	}
	return how, nil
}
