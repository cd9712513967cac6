package plan

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBehindOthers(t *testing.T) {
	require.False(t, Behind(0, nil))
	require.False(t, Behind(0.5, []float64{0.5, 0.5}))
	require.False(t, Behind(0.49, []float64{0.4, 0.6}), "a little is chance")
	require.True(t, Behind(0.4, []float64{0.4, 0.6}))
}
