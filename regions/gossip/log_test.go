package gossip

import (
	"bytes"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

func TestLogKeepsLevels(t *testing.T) {
	var out bytes.Buffer
	l := adapt(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Info, DisableTime: true}))
	l.Printf("[WARN] memberlist: Binding to public address without encryption!")
	l.Printf("[DEBUG] memberlist: Stream connection from=127.0.0.1:1")
	require.Empty(t, out.String())
	l.Printf("[ERR] memberlist: Push/Pull with %s failed", "n1")
	require.Equal(t, "[ERROR] memberlist: Push/Pull with n1 failed\n", out.String())
}
