package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"

	"redflag/api"
)

// outbox returns the oldest reports that no node has taken, at most limit,
// in the order in which they were made.
func (j *journal) outbox(limit int) (reports []api.Report, err error) {
	err = j.db.View(func(tx *bolt.Tx) error {
		reports, err = readOutbox(tx, limit)
		return err
	})
	return reports, err
}

// settle forgets the reports with these ids: a node has taken or refused them.
func (j *journal) settle(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	err := j.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketOutbox)
		var keys [][]byte
		err := walkOutbox(tx, func(key []byte, r api.Report) error {
			if slices.Contains(ids, r.ID) {
				keys = append(keys, slices.Clone(key))
			}
			if len(keys) == len(ids) {
				return errStop
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, key := range keys {
			if err := b.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("journal settled reports: %w", err)
	}
	return nil
}

func enqueue(tx *bolt.Tx, r api.Report) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = appendTo(tx.Bucket(bucketOutbox), b)
	return err
}

// enqueueOnce enqueues r unless it still waits, and reports whether it did not.
func enqueueOnce(tx *bolt.Tx, r api.Report) (again bool, err error) {
	waiting := false
	err = walkOutbox(tx, func(_ []byte, o api.Report) error {
		if waiting = o.ID == r.ID; waiting {
			return errStop
		}
		return nil
	})
	if err != nil || waiting {
		return false, err
	}
	return true, enqueue(tx, r)
}

func readOutbox(tx *bolt.Tx, limit int) (reports []api.Report, err error) {
	err = walkOutbox(tx, func(_ []byte, r api.Report) error {
		if len(reports) == limit {
			return errStop
		}
		reports = append(reports, r)
		return nil
	})
	return reports, err
}

func walkOutbox(tx *bolt.Tx, visit func(key []byte, r api.Report) error) error {
	err := tx.Bucket(bucketOutbox).ForEach(func(key, value []byte) error {
		var r api.Report
		if err := json.Unmarshal(value, &r); err != nil {
			return fmt.Errorf("decode report: %w", err)
		}
		return visit(key, r)
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}
