package node

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// A level that does not exist is an error, and not every line.
func TestLogsOfALevelThatDoesNotExist(t *testing.T) {
	r := start(t)
	for level, want := range map[string]api.Code{"warn": "", "": "", "wurn": api.CodeInvalid, "WARN": api.CodeInvalid, "off": api.CodeInvalid} {
		require.Equal(t, want, api.CodeOf(r.operator.Do(t.Context(), http.MethodGet, "/v1/logs?level="+level, nil, nil)), level)
	}
}
