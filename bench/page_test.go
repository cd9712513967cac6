package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPage: the page in docs is the one that the results make, and every suite
// has been measured, with each of its rows.
func TestPage(t *testing.T) {
	r, err := load("../" + resultsFile)
	require.NoError(t, err)
	page, err := os.ReadFile("../" + pageFile)
	require.NoError(t, err)
	require.Equal(t, string(r.page()), string(page), "make bench writes it; it is not edited")
	for _, s := range suites {
		m, ok := r.Suites[s.id]
		require.True(t, ok, s.id)
		require.NoError(t, s.complete(m.Rows), s.id)
		require.NotEmpty(t, m.Machine, s.id)
		require.NotEmpty(t, m.Version, s.id)
	}
	require.Len(t, r.Suites, len(suites), "a suite that is no more is still in the results")
}
