package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
)

// planFlags are the flags that say how a rollout goes ahead.
type planFlags struct {
	waves, windows, gates, retries []string
	regions                        []string
	success, failures              int
	dynamic, noRetry               bool
	timeout, expiry                time.Duration
}

func (p *planFlags) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&p.waves, "wave", nil, "agents released once a wave is open, of all: 10 or 25%; the rest is the last wave")
	f.StringSliceVar(&p.regions, "region-order", nil, "regions that come first, in this order; without --wave each is a wave")
	f.IntVar(&p.success, "success-threshold", 100, "percent of a wave that must succeed before the next one opens")
	f.IntVar(&p.failures, "max-failure-ratio", 0, "percent of failures in a wave that halts the rollout; 0 never does")
	f.StringArrayVar(&p.windows, "window", nil, `when agents may be worked on: "mon-fri 22:00-04:00 Europe/Berlin"; may be repeated`)
	f.StringSliceVar(&p.gates, "gate", nil, "what a machine must be like: disk=2GiB (free beside the payload), load=150 (percent per CPU), power, battery=50, lock, unmetered")
	f.StringSliceVar(&p.retries, "retry", nil, "repeat failures of a class by themselves: network=4, or network=4:1m:30m with the shortest and the longest wait")
	f.BoolVar(&p.noRetry, "no-retry", false, "make every failure final")
	f.BoolVar(&p.dynamic, "dynamic", false, "let agents join that match later on, until the rollout expires")
	f.DurationVar(&p.timeout, "timeout", time.Duration(api.DefaultTimeout), "how long an agent may take from the moment it gets the command")
	f.DurationVar(&p.expiry, "expires", time.Duration(api.DefaultExpiry), "when the rollout ends for agents that never came")
}

func (p *planFlags) plan() (api.Plan, error) {
	plan := api.Plan{
		RegionOrder: p.regions, SuccessPercent: p.success, MaxFailurePercent: p.failures, Dynamic: p.dynamic,
		Timeout: api.Duration(p.timeout), Expiry: api.Duration(p.expiry),
	}
	if p.success < 1 {
		return plan, api.Errorf(api.CodeInvalid, "a success threshold of %d %% is out of range", p.success).WithHint("use 1 to 100")
	}
	for _, s := range p.waves {
		w, err := api.ParseWave(s)
		if err != nil {
			return plan, err
		}
		plan.Waves = append(plan.Waves, w)
	}
	for _, s := range p.windows {
		w, err := api.ParseWindow(s)
		if err != nil {
			return plan, err
		}
		plan.Windows = append(plan.Windows, w)
	}
	for _, s := range p.gates {
		if err := addGate(&plan.Gates, s); err != nil {
			return plan, err
		}
	}
	if err := p.addRetries(&plan); err != nil {
		return plan, err
	}
	return plan, plan.Validate()
}

func addGate(g *api.Gates, s string) error {
	name, value, _ := strings.Cut(s, "=")
	var err error
	switch name {
	case "power":
		g.Power = true
	case "lock":
		g.PackageLock = true
	case "unmetered":
		g.Unmetered = true
	case "disk":
		var b api.Bytes
		b, err = api.ParseBytes(value)
		g.DiskFree = int64(b)
	case "load":
		g.LoadPercent, err = strconv.Atoi(value)
	case "battery":
		g.Power = true
		g.Battery, err = strconv.Atoi(value)
	default:
		err = fmt.Errorf("unknown gate")
	}
	if err != nil {
		return api.Errorf(api.CodeInvalid, "gate %q: %v", s, err).
			WithHint("use disk=2GiB, load=150, power, battery=50, lock or unmetered")
	}
	return nil
}

// addRetries starts from the defaults. A policy that names no class at all is
// how a plan says that every failure is final.
func (p *planFlags) addRetries(plan *api.Plan) error {
	if p.noRetry {
		plan.Retries = api.RetryPolicy{"none": {Tries: 1}}
		return nil
	}
	if len(p.retries) == 0 {
		return nil
	}
	plan.Retries = api.DefaultRetries()
	for _, s := range p.retries {
		class, rule, _ := strings.Cut(s, "=")
		parts := strings.Split(rule, ":")
		tries, err := strconv.Atoi(parts[0])
		r := api.RetryRule{Tries: tries, Base: api.Duration(time.Minute), Limit: api.Duration(30 * time.Minute)}
		for i, into := range []*api.Duration{&r.Base, &r.Limit} {
			if err == nil && len(parts) > i+1 {
				err = into.UnmarshalText([]byte(parts[i+1]))
			}
		}
		if err != nil || len(parts) > 3 {
			return api.Errorf(api.CodeInvalid, "retry rule %q is not understood", s).WithHint("write network=4 or network=4:1m:30m")
		}
		r.Limit = max(r.Limit, r.Base)
		plan.Retries[api.ErrorClass(class)] = r
	}
	return nil
}
