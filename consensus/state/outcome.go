package state

import (
	"slices"
	"time"

	"redflag/api"
)

// Outcome is how a command ended, as metrics count it.
type Outcome struct {
	Kind              api.Kind
	Artifact, Version string
	Region            string
	State             api.State
	Class             api.ErrorClass // one that this version knows, or "other"; empty for a success
	// Took is the time from the first lease to the end, zero if there was none.
	Took     time.Duration
	Transfer api.Transfer
}

func outcomeOf(c *command, row *executionRow) Outcome {
	o := Outcome{
		Kind: c.rollout.Kind, Artifact: c.rollout.Artifact, Version: c.rollout.Version,
		Region: c.region, State: row.State,
	}
	if row.Failure != nil && row.State.Failed() {
		if o.Class = row.Failure.Class; !slices.Contains(api.ErrorClasses, o.Class) {
			o.Class = api.MetricOther
		}
	}
	began := row.LeasedAt
	if len(row.Earlier) > 0 {
		began = row.Earlier[0].LeasedAt
	}
	if !began.IsZero() {
		o.Took = row.EndedAt.Sub(began)
	}
	if row.Transfer != nil {
		o.Transfer = *row.Transfer
	}
	return o
}
