package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"redflag/api"
)

// errCorrupt says that the journal's file is not one that this package wrote.
var errCorrupt = errors.New("the journal is damaged")

// errFresh says that nothing was ever written to the file.
var errFresh = errors.New("the journal is new")

// openJournal opens or creates the journal and reads all of it once. A
// damaged file is set aside, never deleted, and the error says so: whether to
// go on with an empty journal is for an operator, or a supervisor that
// restarts the agent, to decide.
func openJournal(path string) (*journal, error) {
	j, err := tryJournal(path)
	if err == nil {
		return j, nil
	}
	if !errors.Is(err, errCorrupt) {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	aside := path + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000Z")
	if rerr := os.Rename(path, aside); rerr != nil {
		return nil, fmt.Errorf("open journal: %w, and it cannot be set aside: %w", err, rerr)
	}
	return nil, api.Errorf(api.CodeInternal, "open journal: %v; it was kept as %s", err, aside).
		WithHint("start the agent again to go on with an empty journal; commands that were not reported may run once more")
}

// tryJournal opens the file. The library answers some damage with a panic or
// a memory fault; both become errCorrupt here.
func tryJournal(path string) (j *journal, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errCorrupt, p)
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, FreelistType: bolt.FreelistMapType})
	if err != nil {
		if isCorruption(path, err) {
			err = fmt.Errorf("%w: %w", errCorrupt, err)
		}
		return nil, err
	}
	err = db.View(readAll) // before anything is written, so that damage is kept as it is
	if errors.Is(err, errFresh) {
		err = db.Update(makeBuckets)
	} else if err != nil {
		err = fmt.Errorf("%w: %w", errCorrupt, err)
	}
	if err != nil {
		_ = db.Close()
		return nil, err
	}
	return &journal{db: db}, nil
}

// isCorruption tells damage from trouble that passes, such as a full disk.
func isCorruption(path string, err error) bool {
	for _, damage := range []error{berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum} {
		if errors.Is(err, damage) {
			return true
		}
	}
	// The library has no sentinel for a file that ends within its header.
	info, serr := os.Stat(path)
	return serr == nil && info.Size() > 0 && info.Size() < int64(2*os.Getpagesize())
}

var buckets = [][]byte{bucketCommands, bucketHeld, bucketEnded, bucketOutbox}

func makeBuckets(tx *bolt.Tx) error {
	for _, name := range buckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// readAll decodes every value, so that damage shows now and not in the middle
// of a command.
func readAll(tx *bolt.Tx) error {
	if name, _ := tx.Cursor().First(); name == nil {
		return errFresh
	}
	for _, name := range buckets {
		if tx.Bucket(name) == nil {
			return fmt.Errorf("%s are missing", name)
		}
	}
	commands := tx.Bucket(bucketCommands)
	err := commands.ForEach(func(id, value []byte) error {
		if err := json.Unmarshal(value, &entry{}); err != nil {
			return fmt.Errorf("decode command %q: %w", id, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range [][]byte{bucketHeld, bucketEnded} {
		err := tx.Bucket(name).ForEach(func(_, id []byte) error {
			if commands.Get(id) == nil {
				return fmt.Errorf("command %q has no entry", id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return walkOutbox(tx, func([]byte, api.Report) error { return nil })
}
