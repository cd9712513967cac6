package api

import "time"

// The update metrics that the cluster keeps: two steps, and for how long.
const (
	UpdatesShortStep = 5 * time.Minute
	UpdatesLongStep  = time.Hour
	UpdatesKept      = 30 * 24 * time.Hour
)

// MetricOther stands for everything beyond what a metric tells apart.
const MetricOther = "other"

// UpdateBy names what update metrics can be told apart by.
type UpdateBy string

// What update metrics can be told apart by; the empty one sums up everything.
const (
	UpdateByAll      UpdateBy = ""
	UpdateByArtifact UpdateBy = "artifact"
	UpdateByRegion   UpdateBy = "region"
	UpdateByResult   UpdateBy = "result"
	UpdateByClass    UpdateBy = "class"
)

// UpdateMetrics is how commands ended within a span of time.
type UpdateMetrics struct {
	From   time.Time      `json:"from"`
	To     time.Time      `json:"to"`
	Step   Duration       `json:"step"`
	By     UpdateBy       `json:"by,omitempty"`
	Series []UpdateSeries `json:"series"`
}

// UpdateSeries is one line of UpdateMetrics, in order of time. Steps in which
// nothing ended are left out.
type UpdateSeries struct {
	Name   string        `json:"name"`
	Points []UpdatePoint `json:"points"`
}

// UpdatePoint is what ended within one step.
type UpdatePoint struct {
	At     time.Time       `json:"at"`     // the step's beginning
	Counts map[State]int64 `json:"counts"` // by how they ended
	// MeanSeconds is from the first time that a command was handed out to its
	// end, of those that were.
	MeanSeconds float64 `json:"mean_seconds"`
	// Bytes of payload by where they came from.
	FromPeers        int64 `json:"from_peers"`
	FromNodes        int64 `json:"from_nodes"`
	FromOtherRegions int64 `json:"from_other_regions"`
}
