package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// tx is the change that one entry makes. Reads see its own writes. The first
// error of the disk sticks: what follows does nothing, and Apply reports it.
type tx struct {
	machine  *Machine
	batch    *pebble.Batch
	index    uint64
	now      time.Time
	progress map[string]*progressRow // loaded once per entry, written at its end
	parts    []int                   // of a Batch: how many records' results each part has
	level    int                     // of the cluster, if the entry sets it
	outcomes []Outcome
	err      error
}

// fail keeps the first error of the disk.
func (t *tx) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

func (t *tx) get(key []byte, v any) bool {
	if t.err != nil {
		return false
	}
	found, err := getRow(t.batch, key, v)
	t.err = err
	return found
}

func (t *tx) put(key []byte, v any) {
	if t.err != nil {
		return
	}
	b, err := marshal(v)
	if err != nil {
		t.err = err
		return
	}
	t.putBytes(key, b)
}

// putAgent writes the row of an agent that the index has.
func (t *tx) putAgent(row agentRow) {
	t.put(idKey(keyAgent, row.Agent.ID), row)
	t.machine.index.keep(row)
}

func (t *tx) putBytes(key, value []byte) {
	if t.err == nil {
		t.err = t.batch.Set(key, value, nil)
	}
}

func (t *tx) delete(key []byte) {
	if t.err == nil {
		t.err = t.batch.Delete(key, nil)
	}
}

// progressOf returns the counts of a rollout. Changes to them are written when
// the entry ends.
func (t *tx) progressOf(rolloutID string) *progressRow {
	if p, ok := t.progress[rolloutID]; ok {
		return p
	}
	p := &progressRow{}
	if !t.get(idKey(keyProgress, rolloutID), p) && t.err == nil {
		t.err = fmt.Errorf("rollout %s has no progress row", rolloutID)
	}
	t.progress[rolloutID] = p
	return p
}

// finish draws the consequences for the rollouts that the entry touched, writes
// what it held back and the applied index, and commits all of it at once.
func (t *tx) finish() error {
	for id, p := range t.progress {
		t.settle(id, p)
		t.put(idKey(keyProgress, id), p)
	}
	t.countOutcomes()
	t.putBytes(keyApplied, binary.BigEndian.AppendUint64(nil, t.index))
	if t.err != nil {
		return errors.Join(t.err, t.batch.Close())
	}
	return t.batch.Commit(pebble.NoSync)
}

// getRow decodes the row of key into v and reports whether there is one.
func getRow(r pebble.Reader, key []byte, v any) (bool, error) {
	found := false
	err := viewRow(r, key, func(b []byte) error {
		found = true
		return unmarshal(b, v)
	})
	return found, err
}

// viewRow calls fn with the row of key, which is valid until fn returns, if
// there is one.
func viewRow(r pebble.Reader, key []byte, fn func([]byte) error) error {
	b, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read row: %w", err)
	}
	return errors.Join(fn(b), closer.Close())
}

// scanRows calls fn for the rows of [from, to) in order of their keys until it
// returns false.
func scanRows(r pebble.Reader, from, to []byte, fn func(key, value []byte) (bool, error)) error {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return fmt.Errorf("scan rows: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		more, err := fn(it.Key(), it.Value())
		if err != nil || !more {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// any reports whether there is a row of a kind.
func (t *tx) any(kind byte) bool {
	from, to := kindSpan(kind)
	return t.anyIn(from, to)
}

// anyIn reports whether there is a row in [from, to).
func (t *tx) anyIn(from, to []byte) bool {
	found := false
	if t.err == nil {
		t.err = scanRows(t.batch, from, to, func(_, _ []byte) (bool, error) {
			found = true
			return false, nil
		})
	}
	return found
}
