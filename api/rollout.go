package api

import (
	"strconv"
	"time"
)

// RolloutState is where a rollout stands.
type RolloutState string

// The states of a rollout.
const (
	RolloutRunning   RolloutState = "running"
	RolloutPaused    RolloutState = "paused"    // an operator said so; nothing new is handed out
	RolloutHalted    RolloutState = "halted"    // it stopped itself, see Rollout.Reason
	RolloutDone      RolloutState = "done"      // every command is terminal
	RolloutCancelled RolloutState = "cancelled" // it was aborted: open commands are cancelled
)

// Ended reports whether the rollout hands out nothing any more.
func (s RolloutState) Ended() bool { return s == RolloutDone || s == RolloutCancelled }

// Rollout asks a set of agents to do one thing, mostly with one artifact.
type Rollout struct {
	ID            string       `json:"id"`
	Kind          Kind         `json:"kind"`
	Artifact      string       `json:"artifact,omitempty"`
	Version       string       `json:"version,omitempty"`
	Selector      Selector     `json:"selector"`
	Plan          Plan         `json:"plan"`
	CorrelationID string       `json:"correlation_id"`
	CreatedBy     string       `json:"created_by,omitempty"`
	CreatedAt     time.Time    `json:"created_at"`
	ExpiresAt     time.Time    `json:"expires_at,omitzero"`
	State         RolloutState `json:"state"`
	// Reason says why the rollout is paused or halted.
	Reason string `json:"reason,omitempty"`
	// RollbackOf is the rollout that this one undoes, and RetryOf the command
	// that it repeats.
	RollbackOf string `json:"rollback_of,omitempty"`
	RetryOf    string `json:"retry_of,omitempty"`
	Agents     int    `json:"agents"`
	// Wave counts from 1; Released agents may get their commands.
	Wave     int            `json:"wave"`
	Waves    int            `json:"waves"`
	Released int            `json:"released"`
	OpenWave WaveCounts     `json:"open_wave"`
	Counts   map[State]int  `json:"counts"`
	Regions  []RegionCounts `json:"regions,omitempty"`
	Transfer Transfer       `json:"transfer"`
}

// Failures counts the agents that ended without the change.
func (r *Rollout) Failures() int {
	n := 0
	for s, c := range r.Counts {
		if s.Failed() {
			n += c
		}
	}
	return n
}

// RegionCounts is a rollout's progress in one region.
type RegionCounts struct {
	Region string        `json:"region"`
	Counts map[State]int `json:"counts"`
	// Transfer adds up what the agents of the region report, soft state of
	// their last polls included.
	Transfer Transfer `json:"transfer"`
}

// WaveCounts is how the wave that is open stands, as the thresholds of the plan
// judge it: agents of earlier waves that end while it is open count as well.
type WaveCounts struct {
	Agents    int `json:"agents"`
	Succeeded int `json:"succeeded"`
	Failed    int `json:"failed"`
}

// Wave says how many agents, of all, have been released once it is open: a
// number, or a share in percent.
type Wave struct {
	Agents  int `json:"agents,omitempty" cbor:"1,keyasint,omitempty"`
	Percent int `json:"percent,omitempty" cbor:"2,keyasint,omitempty"`
}

// ParseWave reads "10" or "25%".
func ParseWave(s string) (Wave, error) {
	var w Wave
	into, digits := &w.Agents, s
	if n := len(s); n > 0 && s[n-1] == '%' {
		into, digits = &w.Percent, s[:n-1]
	}
	v, err := strconv.Atoi(digits)
	if err != nil || v < 1 || (into == &w.Percent && v > 100) {
		return w, Errorf(CodeInvalid, "wave %.20q is not understood", s).
			WithHint("write a number of agents or a share of all, such as 10 or 25%%")
	}
	*into = v
	return w, nil
}

// Size returns how many of total agents are released once the wave is open.
func (w Wave) Size(total int) int {
	n := w.Agents
	if w.Percent > 0 {
		n = (total*w.Percent + 99) / 100
	}
	return min(n, total)
}

// Plan is how a rollout goes ahead.
type Plan struct {
	// Waves release agents step by step; what they leave over is the last wave.
	Waves []Wave `json:"waves,omitempty" cbor:"1,keyasint,omitempty"`
	// RegionOrder puts the agents of these regions first, in this order. With
	// no Waves each of the regions is a wave.
	RegionOrder []string `json:"region_order,omitempty" cbor:"2,keyasint,omitempty"`
	// SuccessPercent is the share of a wave that must have succeeded before the
	// next one opens; 0 means 100.
	SuccessPercent int `json:"success_percent,omitempty" cbor:"3,keyasint,omitempty"`
	// MaxFailurePercent halts the rollout when more of a wave have failed; 0
	// means never.
	MaxFailurePercent int `json:"max_failure_percent,omitempty" cbor:"4,keyasint,omitempty"`
	// Dynamic lets agents join that match the selector later on.
	Dynamic bool     `json:"dynamic,omitempty" cbor:"5,keyasint,omitempty"`
	Windows []Window `json:"windows,omitempty" cbor:"6,keyasint,omitempty"`
	Gates   Gates    `json:"gates" cbor:"7,keyasint"`
	// Retries is the policy by class of failure; none means that every failure
	// is final.
	Retries RetryPolicy `json:"retries,omitempty" cbor:"8,keyasint,omitempty"`
	// Timeout bounds a command from the moment it is handed out, and Expiry
	// the whole rollout from its creation.
	Timeout Duration `json:"timeout,omitempty" cbor:"9,keyasint,omitempty"`
	Expiry  Duration `json:"expiry,omitempty" cbor:"10,keyasint,omitempty"`
}

// What Plan.Timeout and Plan.Expiry are when they are zero.
const (
	DefaultTimeout = Duration(24 * time.Hour)
	DefaultExpiry  = Duration(14 * 24 * time.Hour)
)

const (
	maxWaves    = 64
	maxTimeout  = Duration(30 * 24 * time.Hour)
	maxExpiry   = Duration(400 * 24 * time.Hour)
	leastExpiry = Duration(time.Second)
)

// CommandTimeout is Timeout or its default.
func (p *Plan) CommandTimeout() time.Duration {
	if p.Timeout == 0 {
		return time.Duration(DefaultTimeout)
	}
	return time.Duration(p.Timeout)
}

// RolloutExpiry is Expiry or its default.
func (p *Plan) RolloutExpiry() time.Duration {
	if p.Expiry == 0 {
		return time.Duration(DefaultExpiry)
	}
	return time.Duration(p.Expiry)
}

// SuccessNeeded is SuccessPercent or its default.
func (p *Plan) SuccessNeeded() int {
	if p.SuccessPercent == 0 {
		return 100
	}
	return p.SuccessPercent
}

// Validate returns a CodeInvalid error for a plan that cannot be carried out, or
// with a window in a zone that this machine does not know.
func (p *Plan) Validate() error {
	if err := p.validateForm(); err != nil {
		return err
	}
	return CheckWindows(p.Windows)
}

func (p *Plan) validateForm() error {
	if len(p.Waves) > maxWaves || len(p.RegionOrder) > maxWaves {
		return Errorf(CodeInvalid, "the plan has too many waves").WithHint("use %d at most", maxWaves)
	}
	for _, w := range p.Waves {
		if w.Agents < 0 || w.Percent < 0 || w.Percent > 100 || (w.Agents == 0) == (w.Percent == 0) {
			return Errorf(CodeInvalid, "a wave is neither a number of agents nor a share").WithHint("write 10 or 25%%")
		}
	}
	for _, r := range p.RegionOrder {
		if err := CheckID("region", r); err != nil {
			return err
		}
	}
	if p.SuccessPercent < 0 || p.SuccessPercent > 100 || p.MaxFailurePercent < 0 || p.MaxFailurePercent > 100 {
		return Errorf(CodeInvalid, "a threshold of the plan is not between 0 and 100 percent")
	}
	if p.Timeout != 0 && (p.Timeout < leastExpiry || p.Timeout > maxTimeout) {
		return Errorf(CodeInvalid, "a timeout of %s is out of range", p.Timeout).WithHint("use %s to %s", leastExpiry, maxTimeout)
	}
	if p.Expiry != 0 && (p.Expiry < leastExpiry || p.Expiry > maxExpiry) {
		return Errorf(CodeInvalid, "an expiry of %s is out of range", p.Expiry).WithHint("use %s to %s", leastExpiry, maxExpiry)
	}
	if err := eachWindow(p.Windows, Window.validateForm); err != nil {
		return err
	}
	if err := p.Gates.Validate(); err != nil {
		return err
	}
	return p.Retries.Validate()
}

// CreateRolloutRequest creates a rollout. The caller names the id, so that a
// repeat after a lost answer is harmless.
type CreateRolloutRequest struct {
	ID       string   `json:"id"`
	Kind     Kind     `json:"kind"`
	Artifact string   `json:"artifact,omitempty"`
	Version  string   `json:"version,omitempty"`
	Selector Selector `json:"selector"`
	Plan     Plan     `json:"plan"`
	// AllowUnknownKind sends a kind that this version does not know to agents
	// that may.
	AllowUnknownKind bool `json:"allow_unknown_kind,omitempty"`
}

// Validate returns a CodeInvalid error for a request that cannot be carried out.
func (r *CreateRolloutRequest) Validate() error {
	if err := r.ValidateForm(); err != nil {
		return err
	}
	return r.Plan.Validate()
}

// ValidateForm is Validate without what hangs on the machine, which is the time
// zones that it knows: for where all machines must say the same.
func (r *CreateRolloutRequest) ValidateForm() error {
	if err := CheckID("rollout id", r.ID); err != nil {
		return err
	}
	if !r.Kind.Valid() {
		return Errorf(CodeInvalid, "kind %.40q is not a word for one", string(r.Kind)).WithHint("use one of %v", Kinds)
	}
	if !r.Kind.Known() && !r.AllowUnknownKind {
		return Errorf(CodeInvalid, "kind %q is not known", string(r.Kind)).WithHint("use one of %v", Kinds)
	}
	if err := r.Kind.CheckSubject(r.Artifact, r.Version); err != nil {
		return err
	}
	if err := r.Plan.validateForm(); err != nil {
		return err
	}
	return r.Selector.Validate()
}

// RolloutAction is what an operator does to a rollout that goes on.
type RolloutAction string

// What can be done to a rollout.
const (
	RolloutPause  RolloutAction = "pause"
	RolloutResume RolloutAction = "resume"
)

// ChangeRolloutRequest pauses or resumes a rollout.
type ChangeRolloutRequest struct {
	Reason string `json:"reason,omitempty"`
}

// RollbackRequest undoes a rollout: what it changed goes back, as a rollout of
// its own. The caller names the new rollout's id.
type RollbackRequest struct {
	ID   string `json:"id"`
	Plan Plan   `json:"plan"`
}
