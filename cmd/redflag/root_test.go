package main

import (
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
