package telemetry

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestLoggerLine(t *testing.T) {
	var out bytes.Buffer
	l := NewLogger("node", &out, false, KeyNode, "n1")
	ctx := api.WithCorrelation(t.Context(), "")
	sub := l.Named("raft")
	For(ctx, sub).Info("leader elected")
	sub.Debug("invisible")

	var line map[string]any
	require.NoError(t, json.Unmarshal(out.Bytes(), &line))
	require.Equal(t, api.Correlation(ctx), line[KeyCorrelation])
	require.Equal(t, "n1", line[KeyNode])

	out.Reset()
	SetDebug(l, true)
	sub.Debug("visible")
	require.Contains(t, out.String(), "visible", "sub-loggers follow the root's level")
}
