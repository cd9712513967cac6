package api

import "time"

// RolloutState is where a rollout stands.
type RolloutState string

// The states of a rollout.
const (
	RolloutRunning   RolloutState = "running"
	RolloutDone      RolloutState = "done"      // every command is terminal
	RolloutCancelled RolloutState = "cancelled" // open commands were cancelled
)

// Rollout asks a set of agents to do one thing with one artifact.
type Rollout struct {
	ID            string         `json:"id"`
	Kind          Kind           `json:"kind"`
	Artifact      string         `json:"artifact"`
	Version       string         `json:"version,omitempty"`
	Selector      Selector       `json:"selector"`
	CorrelationID string         `json:"correlation_id"`
	CreatedBy     string         `json:"created_by,omitempty"`
	CreatedAt     time.Time      `json:"created_at"`
	State         RolloutState   `json:"state"`
	Agents        int            `json:"agents"`
	Counts        map[State]int  `json:"counts"`
	Regions       []RegionCounts `json:"regions,omitempty"`
	Transfer      Transfer       `json:"transfer"`
}

// RegionCounts is a rollout's progress in one region.
type RegionCounts struct {
	Region string        `json:"region"`
	Counts map[State]int `json:"counts"`
	// Transfer adds up what the agents of the region report, soft state of
	// their last polls included.
	Transfer Transfer `json:"transfer"`
}

// CreateRolloutRequest creates a rollout. The caller names the id, so that a
// repeat after a lost answer is harmless.
type CreateRolloutRequest struct {
	ID       string   `json:"id"`
	Kind     Kind     `json:"kind"`
	Artifact string   `json:"artifact"`
	Version  string   `json:"version,omitempty"`
	Selector Selector `json:"selector"`
}

// Validate returns a CodeInvalid error for a request that cannot be carried out.
func (r *CreateRolloutRequest) Validate() error {
	if err := CheckID("rollout id", r.ID); err != nil {
		return err
	}
	if !r.Kind.Known() {
		return Errorf(CodeInvalid, "kind %q is not known", r.Kind).WithHint("use %s or %s", KindInstall, KindRollback)
	}
	if err := CheckID("artifact", r.Artifact); err != nil {
		return err
	}
	if r.Kind == KindInstall {
		if err := CheckID("version", r.Version); err != nil {
			return err
		}
	}
	return r.Selector.Validate()
}
