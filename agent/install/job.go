package install

import (
	"cmp"
	"context"
	"errors"
	"io"
	"time"

	"github.com/hashicorp/go-hclog"

	"redflag/agent/process"
	"redflag/api"
)

// Stage is how far an install is. It is journalled before its work begins.
type Stage string

// The stages, in their order; the last four are the way back.
const (
	StageNew        Stage = ""
	StageStaged     Stage = "staged"     // everything is beside what runs
	StageApplying   Stage = "applying"   // the new version takes over
	StageRebooting  Stage = "rebooting"  // the machine, or a part of it, restarts
	StageProving    Stage = "proving"    // the agent's new binary must show that it polls
	StageVerifying  Stage = "verifying"  // the installer looks at its own work
	StageChecking   Stage = "checking"   // the health gate
	StageCommitting Stage = "committing" // no way back by itself after this
	StageCleaning   Stage = "cleaning"   // leftovers go; the outcome stands

	StageReverting       Stage = "reverting"
	StageRevertRebooting Stage = "revert_rebooting"
	StageRevertVerifying Stage = "revert_verifying"
	StageFailing         Stage = "failing" // the installer hears that it went wrong
)

// Progress is all that must survive a crash in the middle of an install.
type Progress struct {
	Stage Stage   `json:"stage"`
	New   Record  `json:"new"`
	Old   *Record `json:"old,omitempty"` // what was current; nil for nothing
	// Kept says that New is in the store already: a rollback by command.
	Kept bool `json:"kept,omitempty"`
	// Restart is the way in which the new version needs one.
	Restart Restart `json:"restart,omitempty"`
	BootID  string  `json:"boot_id,omitempty"` // of the system that a reboot should end
	Tries   int     `json:"tries,omitempty"`   // reboots or starts asked for in this stage
	// Cause is why the machine goes back, and Stuck why it could not.
	Cause *api.Failure `json:"cause,omitempty"`
	Stuck string       `json:"stuck,omitempty"`
}

// Begun reports whether the running version may have been touched, so that the
// job must be brought to its outcome whatever else is wanted.
func (p *Progress) Begun() bool {
	return p != nil && p.Stage != StageNew && p.Stage != StageStaged
}

// Restart is what a step needs before the next can run.
type Restart string

// The ways to restart.
const (
	RestartNone   Restart = ""
	RestartSystem Restart = "system" // this package reboots the machine
	RestartModule Restart = "module" // the update module restarts what it owns
	RestartAgent  Restart = "agent"  // the agent starts again as another binary
)

// Job is one install, from its first step to its outcome.
type Job struct {
	Progress
	// Fill writes the payload to w and fails unless it is the signed one. It
	// is not called once the job is staged.
	Fill func(w io.Writer) error
	// Save makes Progress durable.
	Save func(*Progress) error
	// Begin is called before the new version takes over, and again after a
	// restart. An error stops an install that has not gone so far; it may be nil.
	Begin func() error
	// Stop is closed when the agent stops, which holds the job also where the
	// context of Run has ended for another reason; it may be nil.
	Stop <-chan struct{}
	// Watch is told of each stage; it may be nil.
	Watch func(Stage)
	Log   hclog.Logger

	resumed bool         // the stage was entered by an earlier life of this process
	out     process.Tail // what scripts and tools printed last
}

// how is never nil.
func (j *Job) how() *api.Install {
	if j.New.Install == nil {
		return &api.Install{}
	}
	return j.New.Install
}

// ErrRestart says that the agent must start again, as the binary that is now
// current. The job goes on afterwards.
var ErrRestart = errors.New("the agent restarts as its new version")

// RolledBackError says that the install failed and that the machine is on the
// version before.
type RolledBackError struct{ Cause *api.Failure }

// Error implements error.
func (e *RolledBackError) Error() string { return e.Cause.Message }

// Class says why.
func (e *RolledBackError) Class() api.ErrorClass { return e.Cause.Class }

// classOf names the class of an error, ErrorInstall where it has none.
func classOf(err error) api.ErrorClass {
	return cmp.Or(api.ClassOf(err), api.ErrorInstall)
}

// errNoWayBack says that an installer has no way to the version before.
var errNoWayBack = errors.New("there is no way back")

// installer is one way to put a version on a machine. A method may be called
// again after a crash in its middle, except apply and commit of one that is
// not repeatable: the engine reverts those.
type installer interface {
	repeatable() bool
	// stage puts everything beside the running version and touches nothing of it.
	stage(ctx context.Context, job *Job) error
	// apply makes the new version the running one.
	apply(ctx context.Context, job *Job) (Restart, error)
	verify(ctx context.Context, job *Job) error
	commit(ctx context.Context, job *Job) error
	// revert makes the old version the running one, whatever apply has done.
	revert(ctx context.Context, job *Job) error
	// failed hears that the install went wrong, after revert.
	failed(ctx context.Context, job *Job) error
	// cleanup removes what only the install needed.
	cleanup(ctx context.Context, job *Job) error
}

// rebooter is an installer that restarts what it owns.
type rebooter interface {
	reboot(ctx context.Context, job *Job) error
	revertReboot(ctx context.Context, job *Job) error
	verifyRevert(ctx context.Context, job *Job) error
}

// stepTimeout bounds one script, tool or module call, unless the payload says
// otherwise.
const stepTimeout = 10 * time.Minute

func (j *Job) timeout() time.Duration {
	if d := j.how().StepTimeout; d > 0 {
		return time.Duration(d)
	}
	return stepTimeout
}
