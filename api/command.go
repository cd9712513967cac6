package api

import "time"

// Kind is what a command asks of an agent. An agent that does not know a kind
// reports the command as failed with ErrorUnsupported, never in silence.
type Kind string

// The kinds of command that this version knows.
const (
	KindInstall  Kind = "install"
	KindRollback Kind = "rollback"
)

// Known reports whether this version understands the kind.
func (k Kind) Known() bool { return k == KindInstall || k == KindRollback }

// State is where a command stands. Its rank never falls and it ends in
// exactly one terminal state: the first in log order wins.
type State string

// The states of a command, in the order of their rank.
const (
	StatePending    State = "pending"
	StateLeased     State = "leased"
	StateRunning    State = "running"
	StateSucceeded  State = "succeeded"
	StateFailed     State = "failed"
	StateCancelled  State = "cancelled"
	StateRolledBack State = "rolled_back"
)

// States lists every state in the order of a command's life.
var States = []State{
	StatePending, StateLeased, StateRunning,
	StateSucceeded, StateFailed, StateCancelled, StateRolledBack,
}

// Rank orders the states: pending 0, leased 1, running 2, terminal 3, and -1
// for a word that the schema does not know.
func (s State) Rank() int {
	switch s {
	case StatePending:
		return 0
	case StateLeased:
		return 1
	case StateRunning:
		return 2
	case StateSucceeded, StateFailed, StateCancelled, StateRolledBack:
		return 3
	}
	return -1
}

// Terminal reports whether nothing can follow.
func (s State) Terminal() bool { return s.Rank() == 3 }

// Phase refines StateRunning for people who watch.
type Phase string

// The phases of a running command.
const (
	PhaseVerifying   Phase = "verifying"
	PhaseDownloading Phase = "downloading"
	PhaseInstalling  Phase = "installing"
)

// ErrorClass says why a command failed, in words that a retry policy can use.
type ErrorClass string

// The classes of failure that an agent reports.
const (
	ErrorNetwork     ErrorClass = "network"     // peers or nodes could not be reached
	ErrorVerify      ErrorClass = "verify"      // a signature, a length or a hash is wrong
	ErrorDowngrade   ErrorClass = "downgrade"   // the version is older than the installed one
	ErrorInstall     ErrorClass = "install"     // the switch to the new version failed
	ErrorDisk        ErrorClass = "disk"        // no space, or the disk does not write
	ErrorNoPrevious  ErrorClass = "no_previous" // nothing to roll back to
	ErrorUnsupported ErrorClass = "unsupported" // the agent does not know the kind
)

// Failure is why a command did not succeed.
type Failure struct {
	Class   ErrorClass `json:"class" cbor:"1,keyasint"`
	Message string     `json:"message" cbor:"2,keyasint"`
}

// String implements fmt.Stringer.
func (f *Failure) String() string { return string(f.Class) + ": " + f.Message }

// Transfer counts the payload bytes of one command, in bytes.
type Transfer struct {
	FromPeers int64 `json:"from_peers" cbor:"1,keyasint"`
	FromNodes int64 `json:"from_nodes" cbor:"2,keyasint"`
	ToPeers   int64 `json:"to_peers" cbor:"3,keyasint"`
	Total     int64 `json:"total" cbor:"4,keyasint"` // length of the payload
	Done      int64 `json:"done" cbor:"5,keyasint"`  // verified bytes on disk
	// FromOtherRegions is the part of FromPeers and FromNodes that crossed
	// from another region.
	FromOtherRegions int64 `json:"from_other_regions" cbor:"6,keyasint"`
}

// Command is one agent's share of a rollout, as an agent gets it and as an
// operator sees it.
type Command struct {
	ID            string    `json:"id"`
	RolloutID     string    `json:"rollout_id"`
	AgentID       string    `json:"agent_id"`
	Region        string    `json:"region,omitempty"`
	Kind          Kind      `json:"kind"`
	Artifact      string    `json:"artifact"`
	Version       string    `json:"version,omitempty"`
	CorrelationID string    `json:"correlation_id"`
	State         State     `json:"state"`
	Attempt       int       `json:"attempt,omitempty"` // leases handed out so far
	CreatedAt     time.Time `json:"created_at"`
	LeasedAt      time.Time `json:"leased_at,omitzero"`
	LeaseUntil    time.Time `json:"lease_until,omitzero"`
	StartedAt     time.Time `json:"started_at,omitzero"`
	EndedAt       time.Time `json:"ended_at,omitzero"`
	Failure       *Failure  `json:"failure,omitempty"`
	Transfer      *Transfer `json:"transfer,omitempty"`
	// Phase is soft state of the last poll, not replicated.
	Phase Phase `json:"phase,omitempty"`
}
