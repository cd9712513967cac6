package api

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestClientTellsUnsentFromUnknown: a change that no server can have received
// goes to the next one; one whose answer got lost is indeterminate, never
// "unavailable", because it may have been made.
func TestClientTellsUnsentFromUnknown(t *testing.T) {
	calls := 0
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		calls++
		_, _ = w.Write([]byte(`{}`))
	}))
	defer good.Close()
	lost := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	defer lost.Close()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, closed.Close())
	frozen, err := net.Listen("tcp", "127.0.0.1:0") // accepts and says nothing
	require.NoError(t, err)
	defer frozen.Close()

	do := func(method string, servers ...string) Code {
		c := &Client{Servers: servers, HTTP: &http.Client{Transport: &http.Transport{TLSHandshakeTimeout: 200 * time.Millisecond}}}
		return CodeOf(c.Do(context.Background(), method, "/x", nil, nil))
	}
	gone, silent := "http://"+closed.Addr().String(), "https://"+frozen.Addr().String()
	require.Empty(t, do(http.MethodPost, gone, good.URL), "nothing was sent: ask the next")
	require.Empty(t, do(http.MethodPost, silent, good.URL), "no handshake: nothing was sent")
	require.Equal(t, 2, calls)
	require.Equal(t, CodeIndeterminate, do(http.MethodPost, lost.URL, good.URL))
	require.Equal(t, 2, calls, "a change is not sent twice behind the caller's back")
	require.Empty(t, do(http.MethodGet, lost.URL, good.URL), "reading again is harmless")
	require.Equal(t, CodeUnavailable, do(http.MethodPost, gone))
	require.Equal(t, CodeInvalid, do(http.MethodPost))
}
