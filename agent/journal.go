package agent

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	bolt "go.etcd.io/bbolt"

	"redflag/agent/install"
	"redflag/api"
)

// keptEnded is how many ended commands are remembered, so that a repeat of
// one is answered and not run.
const keptEnded = 1024

// The journal's buckets.
var (
	bucketCommands = []byte("commands") // command id → entry
	bucketHeld     = []byte("held")     // sequence → id of a command that has not ended
	bucketEnded    = []byte("ended")    // sequence → id of a command that has
	bucketOutbox   = []byte("outbox")   // sequence → report that no node has taken
)

// entry is all that the journal knows of one command.
type entry struct {
	Command api.Command `json:"command"`
	// State is leased while the command waits, running from its first step
	// on, and then the terminal state.
	State api.State `json:"state"`
	// HeldKey is the command's key in bucketHeld.
	HeldKey []byte `json:"held_key"`
	// Install is how far the installer is, and what it goes to and from: after
	// a crash the version before the current one may be another.
	Install  *install.Progress `json:"install,omitempty"`
	Transfer api.Transfer      `json:"transfer"`
	// Reboot is set once the machine was asked to reboot, Ran once a module was
	// started: neither is done twice.
	Reboot *rebooting `json:"reboot,omitempty"`
	Ran    bool       `json:"ran,omitempty"`
	// Final is the report of the terminal state.
	Final *api.Report `json:"final,omitempty"`
	// Refused is the report that the command goes on although an operator
	// wanted it cancelled.
	Refused *api.Report `json:"refused,omitempty"`
	// Deadline is the command's, by this machine's clock.
	Deadline time.Time         `json:"deadline,omitzero"`
	Log      *api.ExecutionLog `json:"log,omitempty"`

	// inventory goes into the final report, which is where it is kept until a
	// node has taken it.
	inventory *api.Inventory
}

// journal is the agent's memory of commands and reports. Every change is on
// disk when its method returns. It is safe for concurrent use.
type journal struct {
	db *bolt.DB
}

// close releases the file.
func (j *journal) close() error { return j.db.Close() }

// taken is what became of the commands of a poll.
type taken struct {
	fresh   int // new ones
	repeats int // ended ones, the final reports of which are in the outbox again
	// replayed are those of the repeats whose final report a node has had: no
	// node has a reason to hand them out.
	replayed []string
}

// accept takes in the commands of a poll. A command that is held already
// changes nothing.
func (j *journal) accept(cmds []api.Command) (out taken, err error) {
	if len(cmds) == 0 {
		return out, nil
	}
	err = j.db.Update(func(tx *bolt.Tx) error {
		for _, cmd := range cmds {
			e, err := getEntry(tx, cmd.ID)
			switch {
			case err != nil:
				return err
			case e == nil:
				out.fresh++
				err = hold(tx, cmd)
			case e.Final != nil:
				out.repeats++
				var again bool
				if again, err = enqueueOnce(tx, *e.Final); again {
					out.replayed = append(out.replayed, cmd.ID)
				}
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return taken{}, fmt.Errorf("journal commands: %w", err)
	}
	return out, nil
}

func hold(tx *bolt.Tx, cmd api.Command) error {
	key, err := appendTo(tx.Bucket(bucketHeld), []byte(cmd.ID))
	if err != nil {
		return err
	}
	return putEntry(tx, &entry{Command: cmd, State: api.StateLeased, HeldKey: key, Deadline: cmd.Deadline})
}

// begun reports whether the machine may have been changed, so that the command is
// not to be stopped any more.
func (e *entry) begun() bool { return e.Install.Begun() || e.Ran || e.Reboot != nil }

// next returns the oldest command that has not ended, or nil.
func (j *journal) next() (e *entry, err error) {
	err = j.db.View(func(tx *bolt.Tx) error {
		_, id := tx.Bucket(bucketHeld).Cursor().First()
		if id == nil {
			return nil
		}
		e, err = getEntry(tx, string(id))
		return err
	})
	return e, err
}

// held returns the ids of the commands that have not ended, the oldest first.
func (j *journal) held() (ids []string, err error) {
	err = j.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketHeld).ForEach(func(_, id []byte) error {
			ids = append(ids, string(id))
			return nil
		})
	})
	return ids, err
}

// start marks e as running and enqueues that report, unless an earlier life
// of this process did. It returns errEnded for a command that was cancelled
// since e was read.
func (j *journal) start(e *entry) error {
	return j.db.Update(func(tx *bolt.Tx) error {
		now, err := getEntry(tx, e.Command.ID)
		if err != nil {
			return err
		}
		if now != nil && now.Final != nil {
			return errEnded
		}
		if e.State == api.StateRunning {
			return nil
		}
		e.State = api.StateRunning
		if err := putEntry(tx, e); err != nil {
			return fmt.Errorf("journal command %s: %w", e.Command.ID, err)
		}
		return enqueue(tx, newReport(e.Command.ID, api.StateRunning))
	})
}

// note keeps what e has learnt: its install and its transfer.
func (j *journal) note(e *entry) error { return j.update(e, nil) }

// end gives e its terminal state and enqueues the final report.
func (j *journal) end(e *entry, state api.State, failure *api.Failure) error {
	report := newReport(e.Command.ID, state)
	report.Failure = failure
	report.Log = e.Log.Trim(state == api.StateSucceeded)
	if e.Transfer != (api.Transfer{}) {
		transfer := e.Transfer
		report.Transfer = &transfer
	}
	final := report // for repeats; those who ask again have no use for an inventory
	report.Inventory = e.inventory.Trim()
	e.State, e.Final, e.Log = state, &final, nil
	return j.update(e, func(tx *bolt.Tx) error {
		if err := retire(tx, e); err != nil {
			return err
		}
		return enqueue(tx, report)
	})
}

// drop ends e without a report: a node has said that nobody waits for one.
func (j *journal) drop(e *entry) error {
	e.State = api.StateCancelled
	return j.update(e, func(tx *bolt.Tx) error { return retire(tx, e) })
}

// retire moves e from the held commands to the ended ones and forgets the
// oldest of those.
func retire(tx *bolt.Tx, e *entry) error {
	if err := tx.Bucket(bucketHeld).Delete(e.HeldKey); err != nil {
		return err
	}
	ended := tx.Bucket(bucketEnded)
	if _, err := appendTo(ended, []byte(e.Command.ID)); err != nil {
		return err
	}
	oldest := ended.Sequence() - min(keptEnded, ended.Sequence())
	for key, id := ended.Cursor().First(); key != nil && binary.BigEndian.Uint64(key) <= oldest; key, id = ended.Cursor().First() {
		if err := tx.Bucket(bucketCommands).Delete(id); err != nil {
			return err
		}
		if err := ended.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

func (j *journal) update(e *entry, more func(*bolt.Tx) error) error {
	err := j.db.Update(func(tx *bolt.Tx) error {
		if err := putEntry(tx, e); err != nil || more == nil {
			return err
		}
		return more(tx)
	})
	if err != nil {
		return fmt.Errorf("journal command %s: %w", e.Command.ID, err)
	}
	return nil
}

func newReport(commandID string, state api.State) api.Report {
	return api.Report{ID: ulid.Make().String(), CommandID: commandID, State: state, At: time.Now().UTC()}
}

func getEntry(tx *bolt.Tx, id string) (*entry, error) {
	b := tx.Bucket(bucketCommands).Get([]byte(id))
	if b == nil {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	e := &entry{}
	if err := json.Unmarshal(b, e); err != nil {
		return nil, fmt.Errorf("decode command %s: %w", id, err)
	}
	return e, nil
}

func putEntry(tx *bolt.Tx, e *entry) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return tx.Bucket(bucketCommands).Put([]byte(e.Command.ID), b)
}

// appendTo puts value under the bucket's next sequence number.
func appendTo(b *bolt.Bucket, value []byte) (key []byte, err error) {
	seq, err := b.NextSequence()
	if err != nil {
		return nil, err
	}
	key = binary.BigEndian.AppendUint64(nil, seq)
	return key, b.Put(key, value)
}

// errStop ends a walk through a bucket early.
var errStop = errors.New("stop")
