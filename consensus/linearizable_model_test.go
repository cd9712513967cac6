//go:build unix

package consensus_test

import (
	"fmt"

	"github.com/anishathalye/porcupine"

	"redflag/api"
)

// The model is one command as its callers may know it: it is enqueued by a
// rollout to one agent, leased, and reported on. Each command is checked by
// itself, so long histories stay cheap.

type opKind string

const (
	opEnqueue opKind = "enqueue"
	opLease   opKind = "lease"
	opReport  opKind = "report"
	opRead    opKind = "read" // at the end, from a node that has caught up
)

type opInput struct {
	kind    opKind
	command string
	state   api.State // that a report claims
}

type opOutput struct {
	unknown bool      // nobody can say whether it happened
	code    api.Code  // "" for done
	state   api.State // that a read found
}

// commandModel says which outcomes a command's state allows, and what follows.
var commandModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		byCommand := map[string][]porcupine.Operation{}
		for _, op := range history {
			id := op.Input.(opInput).command
			byCommand[id] = append(byCommand[id], op)
		}
		var out [][]porcupine.Operation
		for _, ops := range byCommand {
			out = append(out, ops)
		}
		return out
	},
	Init: func() any { return api.State("") },
	Step: func(s, in, out any) (bool, any) {
		from, input, output := s.(api.State), in.(opInput), out.(opOutput)
		to, code := step(from, input)
		if output.unknown {
			return true, to
		}
		if input.kind == opRead {
			return output.state == from, from
		}
		return output.code == code, to
	},
	DescribeOperation: func(in, out any) string {
		input, output := in.(opInput), out.(opOutput)
		result := string(output.code)
		switch {
		case output.unknown:
			result = "unknown"
		case input.kind == opRead:
			result = string(output.state)
		case result == "":
			result = "done"
		}
		return fmt.Sprintf("%s(%s %s) → %s", input.kind, input.command, input.state, result)
	},
	DescribeState: func(s any) string { return string(s.(api.State)) },
}

// step returns the state after an operation, and the code of its refusal.
func step(from api.State, op opInput) (api.State, api.Code) {
	switch op.kind {
	case opEnqueue:
		if from == "" {
			return api.StatePending, ""
		}
		return from, "" // a repeat
	case opLease:
		if from == "" {
			return from, api.CodeNotFound
		}
		if from == api.StatePending || from == api.StateLeased {
			return api.StateLeased, ""
		}
		return from, api.CodeConflict // it runs or has ended: a second hand-out would execute it twice
	case opReport:
		switch {
		case from == "":
			return from, api.CodeNotFound
		case from == op.state:
			return from, "" // what is known
		case from == api.StatePending || from.Terminal():
			return from, api.CodeConflict // never handed out, or ended already: the first end stays
		}
		return op.state, ""
	case opRead:
	}
	return from, ""
}
