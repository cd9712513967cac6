package api

import (
	"slices"
	"strings"
	"time"
)

// Kind is what a command asks of an agent. Any well-formed word may travel, for
// nodes and agents are not upgraded at once: an agent that does not know a kind
// reports the command as failed with ErrorUnsupported, never in silence.
type Kind string

// The kinds of command that this version knows.
const (
	KindInstall      Kind = "install"
	KindRollback     Kind = "rollback"
	KindScan         Kind = "scan"
	KindCollectLogs  Kind = "collect_logs"
	KindCollectSpecs Kind = "collect_specs"
	KindUpdateAgent  Kind = "update_agent"
	KindReboot       Kind = "reboot"
	KindRunModule    Kind = "run_module"
	// KindUpdatePackage brings a package of the operating system to the newest
	// version that the machine's own sources have, or to the one it names.
	KindUpdatePackage Kind = "update_package"
)

// Kinds lists what this version knows, in the order that people read it.
var Kinds = []Kind{
	KindInstall, KindRollback, KindScan, KindCollectLogs, KindCollectSpecs,
	KindUpdateAgent, KindReboot, KindRunModule, KindUpdatePackage,
}

// Known reports whether this version understands the kind.
func (k Kind) Known() bool {
	return slices.Contains(Kinds, k)
}

// Valid reports whether k can travel: 1 to 32 lower-case letters and '_'.
func (k Kind) Valid() bool {
	return k != "" && len(k) <= 32 && strings.Trim(string(k), "abcdefghijklmnopqrstuvwxyz_") == ""
}

// Looks reports whether the kind only looks at a machine, which it may do at any
// time. What is not known may change it.
func (k Kind) Looks() bool {
	return k == KindScan || k == KindCollectLogs || k == KindCollectSpecs
}

// NeedsArtifact reports whether the kind is about an artifact, and NeedsVersion
// whether it must name the version of one.
func (k Kind) NeedsArtifact() bool {
	return k == KindRollback || k == KindUpdatePackage || k.NeedsVersion()
}

// NeedsVersion reports whether the kind is about one version of an artifact.
func (k Kind) NeedsVersion() bool {
	return k == KindInstall || k == KindUpdateAgent || k == KindRunModule
}

// CheckSubject returns a CodeInvalid error unless an artifact and a version are
// what a command of this kind is about.
func (k Kind) CheckSubject(artifact, version string) error {
	if k == KindUpdatePackage {
		if !ValidPackage(artifact) {
			return Errorf(CodeInvalid, "%.130q is not the name of a package", artifact).WithHint("write it as apt or dnf list it, such as openssl")
		}
		if version != "" && !ValidPackageVersion(version) {
			return Errorf(CodeInvalid, "%.130q is not a version of a package", version).WithHint("write it as apt or dnf list it, such as 3.0.15-1~deb12u1, or leave it out")
		}
		return nil
	}
	if artifact != "" || k.NeedsArtifact() {
		if err := CheckID("artifact", artifact); err != nil {
			return err
		}
	}
	if version != "" || k.NeedsVersion() {
		return CheckID("version", version)
	}
	return nil
}

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
	StateTimedOut   State = "timed_out" // its deadline passed; agents never report it
	StateCancelled  State = "cancelled"
	StateRolledBack State = "rolled_back" // the new version failed its check, the old one runs
)

// States lists every state in the order of a command's life.
var States = []State{
	StatePending, StateLeased, StateRunning,
	StateSucceeded, StateFailed, StateTimedOut, StateCancelled, StateRolledBack,
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
	case StateSucceeded, StateFailed, StateTimedOut, StateCancelled, StateRolledBack:
		return 3
	}
	return -1
}

// Terminal reports whether nothing can follow.
func (s State) Terminal() bool { return s.Rank() == 3 }

// Failed reports whether the command ended without having done what it was
// for, other than by an operator's wish: such commands count as failures of
// their rollout.
func (s State) Failed() bool {
	return s == StateFailed || s == StateTimedOut || s == StateRolledBack
}

// Phase refines StateRunning for people who watch.
type Phase string

// The phases of a running command.
const (
	PhaseVerifying   Phase = "verifying"
	PhaseDownloading Phase = "downloading"
	PhaseInstalling  Phase = "installing"
	PhaseChecking    Phase = "checking"
	PhaseReverting   Phase = "reverting"
	PhaseRunning     Phase = "running"   // a module, or a look at the machine
	PhaseRebooting   Phase = "rebooting" // the machine goes down and comes back
)

// ErrorClass says why a command failed, in words that a retry policy can use.
type ErrorClass string

// The classes of failure that an agent reports.
const (
	ErrorNetwork     ErrorClass = "network"     // peers or nodes could not be reached
	ErrorVerify      ErrorClass = "verify"      // a signature, a length or a hash is wrong
	ErrorDowngrade   ErrorClass = "downgrade"   // the version is older than the installed one
	ErrorInstall     ErrorClass = "install"     // the switch to the new version failed
	ErrorHealth      ErrorClass = "health"      // the new version did not pass its checks
	ErrorDisk        ErrorClass = "disk"        // no space, or the disk does not write
	ErrorNoPrevious  ErrorClass = "no_previous" // nothing to roll back to
	ErrorUnsupported ErrorClass = "unsupported" // the agent does not know the kind
	ErrorRefused     ErrorClass = "refused"     // the machine's own policy said no for now
	ErrorDeadline    ErrorClass = "deadline"    // the command's deadline passed
)

// ErrorClasses lists the classes that this version knows.
var ErrorClasses = []ErrorClass{
	ErrorNetwork, ErrorVerify, ErrorDowngrade, ErrorInstall, ErrorHealth,
	ErrorDisk, ErrorNoPrevious, ErrorUnsupported, ErrorRefused, ErrorDeadline,
}

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
	// FromFallback came from nodes over HTTPS, and is no part of the others.
	FromFallback int64 `json:"from_fallback,omitempty" cbor:"7,keyasint,omitempty"`
	// Saved is by how much what was fetched is shorter than the payload, because
	// it was packed or a delta.
	Saved int64 `json:"saved,omitempty" cbor:"8,keyasint,omitempty"`
}

// Command is one agent's share of a rollout, as an agent gets it and as an
// operator sees it.
type Command struct {
	ID        string `json:"id"`
	RolloutID string `json:"rollout_id"`
	AgentID   string `json:"agent_id"`
	Region    string `json:"region,omitempty"`
	// RetryOf is the command that this one repeats after a failure.
	RetryOf       string    `json:"retry_of,omitempty"`
	Kind          Kind      `json:"kind"`
	Artifact      string    `json:"artifact,omitempty"`
	Version       string    `json:"version,omitempty"`
	CorrelationID string    `json:"correlation_id"`
	State         State     `json:"state"`
	Attempt       int       `json:"attempt,omitempty"` // leases handed out so far
	CreatedAt     time.Time `json:"created_at"`
	// NotBefore is when a repeat after a failure may be handed out.
	NotBefore  time.Time `json:"not_before,omitzero"`
	LeasedAt   time.Time `json:"leased_at,omitzero"`
	LeaseUntil time.Time `json:"lease_until,omitzero"`
	StartedAt  time.Time `json:"started_at,omitzero"`
	// Deadline is when the command ends as timed_out if it has not ended: the
	// expiry of its rollout while it waits, and its own from the first lease.
	Deadline time.Time `json:"deadline,omitzero"`
	EndedAt  time.Time `json:"ended_at,omitzero"`
	// CancelAt is when an operator asked to stop what the agent already held.
	CancelAt time.Time `json:"cancel_at,omitzero"`
	// CancelRefused is why the agent went on all the same.
	CancelRefused string        `json:"cancel_refused,omitempty"`
	Failure       *Failure      `json:"failure,omitempty"`
	Transfer      *Transfer     `json:"transfer,omitempty"`
	Log           *ExecutionLog `json:"log,omitempty"`
	// Phase and Waiting are soft state of the last poll, not replicated.
	Phase   Phase  `json:"phase,omitempty"`
	Waiting string `json:"waiting,omitempty"` // why it is not handed out
	// Repeated says that it failed and a later try of the same command follows.
	Repeated bool `json:"repeated,omitempty"`
	// Archived says that the command was read from an archive.
	Archived bool `json:"archived,omitempty"`
	// Order is the command as a node signed it, on its way to an agent only.
	Order *Order `json:"order,omitempty"`
}

// Event is one step in the life of a command.
type Event struct {
	At   time.Time `json:"at"`
	What string    `json:"what"`
}

// Timeline returns what is known of the command's life, in order.
func (c *Command) Timeline() []Event {
	all := []Event{
		{c.CreatedAt, "created"},
		{c.LeasedAt, "handed out"},
		{c.StartedAt, "started"},
		{c.CancelAt, "cancel requested"},
		{c.EndedAt, string(c.State)},
	}
	var known []Event
	for _, e := range all {
		if !e.At.IsZero() {
			known = append(known, e)
		}
	}
	return known
}

// CommandDetail is a command with its timeline.
type CommandDetail struct {
	Command
	Timeline []Event `json:"timeline"`
}

// CommandList asks for a page of commands; an empty field selects all.
type CommandList struct {
	Rollout     string     `json:"rollout,omitempty"`
	Agent       string     `json:"agent,omitempty"`
	Artifact    string     `json:"artifact,omitempty"`
	Correlation string     `json:"correlation,omitempty"`
	State       State      `json:"state,omitempty"`
	Class       ErrorClass `json:"class,omitempty"` // of the failure
	Since       time.Time  `json:"since,omitzero"`  // created at or after it
	Until       time.Time  `json:"until,omitzero"`  // created before it
}

// Matches reports whether c is one that l selects.
func (l *CommandList) Matches(c *Command) bool {
	return (l.Rollout == "" || l.Rollout == c.RolloutID) &&
		(l.Agent == "" || l.Agent == c.AgentID) &&
		(l.Artifact == "" || l.Artifact == c.Artifact) &&
		(l.Correlation == "" || l.Correlation == c.CorrelationID) &&
		(l.State == "" || l.State == c.State) &&
		(l.Class == "" || (c.Failure != nil && l.Class == c.Failure.Class)) &&
		(l.Since.IsZero() || !c.CreatedAt.Before(l.Since)) &&
		(l.Until.IsZero() || c.CreatedAt.Before(l.Until))
}

// RetryRequest repeats a command that failed, as a rollout of its own that
// keeps every constraint of the first one. The caller names the rollout's id.
type RetryRequest struct {
	ID string `json:"id"`
}
