package node

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A region whose coordinator is of another region fetches for itself.
func TestWhoCrosses(t *testing.T) {
	p := &payloads{node: &Node{cfg: Config{ID: "us1"}}}
	require.True(t, p.crosses("us1", []string{"us1", "us2"}))
	require.False(t, p.crosses("us2", []string{"us1", "us2"}))
	require.True(t, p.crosses("eu1", []string{"us1", "us2"}), "pinned from elsewhere")
	require.False(t, p.crosses("eu1", []string{"us0", "us1"}))
	require.True(t, p.crosses("", []string{"us1"}))
}
