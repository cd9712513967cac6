package agent

import (
	"context"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"redflag/api"
)

// Why a command was stopped from outside.
var (
	// errUnwanted ends a command whose report a node has refused for good.
	errUnwanted = errors.New("the command is over for the cluster")
	// errCancelled ends a command that an operator does not want any more.
	errCancelled = errors.New("an operator cancelled the command")
	// errOverdue ends a command whose deadline has passed.
	errOverdue = api.Failf(api.ErrorDeadline, "the deadline of the command has passed")
)

// errEnded says that a command ended before its execution began.
var errEnded = errors.New("the command has ended")

// pointOfNoReturn is called right before the step that cannot be undone. It
// fails if the command was stopped; after it, a wish to cancel is refused.
func (e *executor) pointOfNoReturn(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e.switched = true
	return nil
}

// unwanted stops the command that is under way if it has this id: a node has
// said that it is over.
func (e *executor) unwanted(commandID string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.progress != nil && e.progress.CommandID == commandID {
		e.cancel(errUnwanted)
	}
}

// cancelCommand answers an operator's wish: a command that waits ends, one that
// is under way stops, and one past the point of no return goes on and says so.
func (e *executor) cancelCommand(commandID string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.progress == nil || e.progress.CommandID != commandID {
		return e.journal.cancel(commandID)
	}
	if !e.switched {
		e.cancel(errCancelled)
		return nil
	}
	return e.journal.refuseCancel(commandID, tooLate)
}

// tooLate is why a command is not cancelled.
const tooLate = "the change is being made and cannot be stopped any more"

// cancel ends a command that has not begun, and refuses one that has and waits for
// the agent's next start. One that is not known either got lost with a reply, and
// must not run if it comes again; of one that has ended the final report is in the
// outbox again.
func (j *journal) cancel(commandID string) error {
	begun := false
	err := j.db.Update(func(tx *bolt.Tx) error {
		e, err := getEntry(tx, commandID)
		if err != nil {
			return err
		}
		if e == nil {
			if err := hold(tx, api.Command{ID: commandID}); err != nil {
				return err
			}
			if e, err = getEntry(tx, commandID); err != nil {
				return err
			}
		}
		if e.Final != nil {
			_, err := enqueueOnce(tx, *e.Final)
			return err
		}
		if begun = e.begun(); begun {
			return nil
		}
		report := newReport(commandID, api.StateCancelled)
		e.State, e.Final = api.StateCancelled, &report
		if err := putEntry(tx, e); err != nil {
			return err
		}
		if err := retire(tx, e); err != nil {
			return err
		}
		return enqueue(tx, report)
	})
	if err != nil {
		return fmt.Errorf("journal cancelled command %s: %w", commandID, err)
	}
	if begun {
		return j.refuseCancel(commandID, tooLate)
	}
	return nil
}

// refuseCancel enqueues, once, that a command goes on. Unless it has ended
// meanwhile: then its final report says enough.
func (j *journal) refuseCancel(commandID, reason string) error {
	err := j.db.Update(func(tx *bolt.Tx) error {
		e, err := getEntry(tx, commandID)
		if err != nil || e == nil || e.Final != nil {
			return err
		}
		if e.Refused == nil {
			report := newReport(commandID, api.StateRunning)
			report.CancelRefused = reason
			e.Refused = &report
			if err := putEntry(tx, e); err != nil {
				return err
			}
		}
		_, err = enqueueOnce(tx, *e.Refused)
		return err
	})
	if err != nil {
		return fmt.Errorf("journal refusal for command %s: %w", commandID, err)
	}
	return nil
}
