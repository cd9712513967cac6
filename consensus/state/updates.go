package state

import (
	"encoding/binary"
	"time"

	"redflag/api"
)

// updateSteps are the steps at which outcomes are summed up. The number of a
// step stands in keys.
var updateSteps = []time.Duration{api.UpdatesShortStep, api.UpdatesLongStep}

// maxUpdateSums bounds what one step tells apart. What comes beyond is counted
// as other artifacts in other regions, by how it ended.
const maxUpdateSums = 64

// updatesRow is everything that ended within one step.
type updatesRow struct {
	Sums []UpdateSum `cbor:"1,keyasint"`
}

// UpdateSum sums up commands that ended alike within one step.
type UpdateSum struct {
	Kind             api.Kind       `cbor:"1,keyasint"`
	Artifact         string         `cbor:"2,keyasint"`
	Version          string         `cbor:"3,keyasint"`
	Region           string         `cbor:"4,keyasint"`
	State            api.State      `cbor:"5,keyasint"`
	Class            api.ErrorClass `cbor:"6,keyasint"`
	Commands         int64          `cbor:"7,keyasint"`
	Timed            int64          `cbor:"8,keyasint"` // of them, those that were handed out
	Millis           int64          `cbor:"9,keyasint"` // that these took
	FromPeers        int64          `cbor:"10,keyasint"`
	FromNodes        int64          `cbor:"11,keyasint"`
	FromOtherRegions int64          `cbor:"12,keyasint"`
}

// UpdatesAt is one step of the update metrics.
type UpdatesAt struct {
	At   time.Time // the step's beginning
	Sums []UpdateSum
}

// countOutcomes adds what the entry ended to the present step of each length.
func (t *tx) countOutcomes() {
	if len(t.outcomes) == 0 || t.levels().Level < levelUpdates {
		return
	}
	for number, step := range updateSteps {
		key := updatesKey(number, t.now.Truncate(step))
		var row updatesRow
		if !t.get(key, &row) {
			t.forgetUpdates(number)
		}
		for _, o := range t.outcomes {
			row.add(o)
		}
		t.put(key, row)
	}
}

// forgetUpdates removes the steps that are too old. It is called when a step
// begins, so that it happens once for each.
func (t *tx) forgetUpdates(number int) {
	if t.err == nil {
		t.err = t.batch.DeleteRange(updatesKey(number, time.Unix(0, 0)), updatesKey(number, t.now.Add(-api.UpdatesKept)), nil)
	}
}

func (r *updatesRow) add(o Outcome) {
	sum := r.sum(UpdateSum{Kind: o.Kind, Artifact: o.Artifact, Version: o.Version, Region: o.Region, State: o.State, Class: o.Class})
	sum.Commands++
	if o.Took > 0 {
		sum.Timed++
		sum.Millis += o.Took.Milliseconds()
	}
	sum.FromPeers += o.Transfer.FromPeers
	sum.FromNodes += o.Transfer.FromNodes
	sum.FromOtherRegions += o.Transfer.FromOtherRegions
}

// sum returns the sum that has the names of want.
func (r *updatesRow) sum(want UpdateSum) *UpdateSum {
	for i := range r.Sums {
		if r.Sums[i].names() == want {
			return &r.Sums[i]
		}
	}
	if len(r.Sums) >= maxUpdateSums && want.Artifact != api.MetricOther {
		return r.sum(UpdateSum{Kind: api.MetricOther, Artifact: api.MetricOther, Region: api.MetricOther, State: want.State, Class: want.Class})
	}
	r.Sums = append(r.Sums, want)
	return &r.Sums[len(r.Sums)-1]
}

// names returns s without its numbers.
func (s UpdateSum) names() UpdateSum {
	return UpdateSum{Kind: s.Kind, Artifact: s.Artifact, Version: s.Version, Region: s.Region, State: s.State, Class: s.Class}
}

func updatesKey(number int, at time.Time) []byte {
	return binary.BigEndian.AppendUint64([]byte{keyUpdates, byte(number)}, uint64(max(0, at.Unix())))
}

// Updates returns what ended from the step that holds from until to, in order
// of time. step is one of the lengths that are kept; of any other there is
// nothing.
func (m *Machine) Updates(step time.Duration, from, to time.Time) []UpdatesAt {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil
	}
	var out []UpdatesAt
	for number, kept := range updateSteps {
		if kept != step {
			continue
		}
		m.fail(scanRows(m.db, updatesKey(number, from.Truncate(step)), updatesKey(number, to), func(key, value []byte) (bool, error) {
			var row updatesRow
			err := unmarshal(value, &row)
			at := time.Unix(int64(binary.BigEndian.Uint64(key[2:])), 0).UTC()
			out = append(out, UpdatesAt{At: at, Sums: row.Sums})
			return true, err
		}))
	}
	return out
}
