package consensus

import (
	"context"
	"errors"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus/state"
)

// What comes back of a forwarded proposal tells whether it may be in the log.
func TestForwardErrors(t *testing.T) {
	forward := func(body []byte, err error) error {
		c := Cluster{cfg: Config{Forward: func(context.Context, string, string, []byte) ([]byte, error) { return body, err }}}
		_, err = c.forward(t.Context(), "n1", "h:1", nil)
		return err
	}
	answered := func(e *api.Error) error {
		body, err := cbor.Marshal(answer{Result: state.Result{Index: 1}, Error: e})
		require.NoError(t, err)
		return forward(body, nil)
	}
	require.NoError(t, answered(nil))
	for _, code := range []api.Code{api.CodeUnavailable, api.CodeBehind, api.CodeRateLimited} {
		e := api.Errorf(code, "not now")
		require.ErrorIs(t, forward(nil, e), errNotSent, code)
		require.ErrorIs(t, answered(e), errNotSent, code)
	}
	for _, code := range []api.Code{api.CodeDenied, api.CodeUnauthenticated} {
		e := api.Errorf(code, "not you").WithHint("enrol")
		require.Equal(t, e, forward(nil, e))
		require.Equal(t, e, answered(e))
	}
	for name, err := range map[string]error{
		"foreign error": forward(nil, errors.New("reset by peer")),
		"internal":      forward(nil, api.Errorf(api.CodeInternal, "broken")),
		"lost":          forward(nil, indeterminate()),
		"garbage":       forward([]byte("hello"), nil),
		"too large":     forward(make([]byte, MaxForward+1), nil),
	} {
		require.Equal(t, api.CodeIndeterminate, api.CodeOf(err), name)
	}
}
