//go:build unix

package consensus_test

import (
	"testing"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"redflag/api"
)

// The checker must see what TestLinearizable is there to find.
func TestCheckerFindsWhatIsWrong(t *testing.T) {
	const id = "r1:a1"
	running := opInput{kind: opReport, command: id, state: api.StateRunning}
	succeeded := opInput{kind: opReport, command: id, state: api.StateSucceeded}
	failed := opInput{kind: opReport, command: id, state: api.StateFailed}
	enqueue, lease, read := opInput{kind: opEnqueue, command: id}, opInput{kind: opLease, command: id}, opInput{kind: opRead, command: id}
	done, unknown := opOutput{}, opOutput{unknown: true}
	type event struct {
		in  opInput
		out opOutput
	}
	verdict := func(events ...event) porcupine.CheckResult {
		var ops []porcupine.Operation
		for i, e := range events {
			op := porcupine.Operation{ClientId: i, Input: e.in, Output: e.out, Call: int64(2 * i), Return: int64(2*i + 1)}
			if e.out.unknown {
				op.Return = forever
			}
			ops = append(ops, op)
		}
		result, _ := porcupine.CheckOperationsVerbose(commandModel, ops, 0)
		return result
	}
	require.Equal(t, porcupine.Ok, verdict(
		event{enqueue, unknown}, event{lease, opOutput{code: api.CodeNotFound}}, event{lease, done}, event{lease, done},
		event{running, unknown}, event{succeeded, done}, event{failed, opOutput{code: api.CodeConflict}},
		event{read, opOutput{state: api.StateSucceeded}},
	))
	for name, events := range map[string][]event{
		"a lost enqueue":          {{enqueue, done}, {read, opOutput{}}},
		"a lost report":           {{enqueue, done}, {lease, done}, {running, done}, {read, opOutput{state: api.StateLeased}}},
		"two ends":                {{enqueue, done}, {lease, done}, {succeeded, done}, {failed, done}},
		"a second hand-out":       {{enqueue, done}, {lease, done}, {running, done}, {lease, done}},
		"nodes that disagree":     {{enqueue, unknown}, {read, opOutput{state: api.StatePending}}, {read, opOutput{}}},
		"a report out of nowhere": {{enqueue, done}, {running, done}},
	} {
		require.Equal(t, porcupine.Illegal, verdict(events...), name)
	}
}
