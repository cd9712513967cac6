package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// TestCommandTree: every command is listed once and says what it does.
func TestCommandTree(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		require.NotEmpty(t, c.Short, c.CommandPath())
		seen := map[string]bool{}
		for _, sub := range c.Commands() {
			require.False(t, seen[sub.Name()], "%s is there twice", sub.CommandPath())
			seen[sub.Name()] = true
			walk(sub)
		}
	}
	walk(newRoot())
}

// TestUnknownSubcommands: a word that is no command is wrong usage, also below a
// group of commands.
func TestUnknownSubcommands(t *testing.T) {
	for _, args := range []string{"craete", "rollout craete", "keys revokee KEY", "token lst --json"} {
		err := run(t.Context(), strings.Fields(args))
		require.Equal(t, exitUsage, exitCode(err), "%s: %v", args, err)
	}
	require.NoError(t, run(t.Context(), []string{"keys"}))
}

// TestTablesDoATerminalNoHarm: what a machine says of itself is shown, and not
// acted on.
func TestTablesDoATerminalNoHarm(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, printTable(&out, "", []string{"A"}, [][]string{{"red\x1b[2K\u009b2K\u202eflag\r\n"}}))
	require.Equal(t, "A\nred [2K 2K flag\n", strings.ReplaceAll(out.String(), "  \n", "\n"))
}
