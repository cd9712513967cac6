package node

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/trust/pki"
)

// An agent keeps its connection until the node has too many: then it comes
// back with the session of before.
func TestConnectionsBeyondTheSetting(t *testing.T) {
	r := start(t)
	creds, err := r.enrol("a1", r.token(agentToken))
	require.NoError(t, err)
	var conns []*tls.Conn
	tr := &http.Transport{DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&tls.Dialer{Config: creds.PollingTLS(addr, pki.ALPNHTTP)}).DialContext(ctx, network, addr)
		if err == nil {
			conns = append(conns, c.(*tls.Conn))
		}
		return c, err
	}}
	t.Cleanup(tr.CloseIdleConnections)
	client := &api.Client{Servers: []string{"https://" + r.mesh}, HTTP: &http.Client{Transport: tr}}
	poll := func() {
		require.NoError(t, client.Do(t.Context(), http.MethodPost, "/v1/agents/a1/poll", api.PollRequest{}, &api.PollResponse{}))
	}
	kept := func(n int64) func() bool { return func() bool { return r.node.mostConnections.Load() == n } }
	bearable := openFiles() / 4 * 3
	require.Eventually(t, kept(min(10_000, bearable)), 20*time.Second, 5*time.Millisecond)
	others := r.node.connections.Load()
	poll()
	poll()
	require.Len(t, conns, 1)
	require.Equal(t, others+1, r.node.connections.Load())

	_, err = r.patch(api.SettingsChange{Values: map[api.SettingKey]string{api.SettingPollConnections: "0", api.SettingPollBudget: "4000"}})
	require.NoError(t, err)
	require.Eventually(t, kept(0), 20*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return r.node.mesh.limiter.Limit() == 4000 }, 20*time.Second, 5*time.Millisecond, "each poll may need a handshake")
	poll() // is answered, and told that it was the last one
	poll()
	poll()
	require.Len(t, conns, 3)
	require.True(t, conns[1].ConnectionState().DidResume)
	require.True(t, conns[2].ConnectionState().DidResume)
	require.Eventually(t, func() bool { return r.node.connections.Load() == others }, 20*time.Second, 10*time.Millisecond)

	_, err = r.patch(api.SettingsChange{Values: map[api.SettingKey]string{api.SettingPollConnections: "1000000"}})
	require.NoError(t, err)
	require.Eventually(t, kept(min(1_000_000, bearable)), 20*time.Second, 5*time.Millisecond, "no more than the system allows")
}

// The last answer waits for what ends the session, and both are one write.
func TestLastAnswer(t *testing.T) {
	here, there := net.Pipe()
	defer there.Close()
	c := new(liveConns).track(here)
	defer c.Close()
	require.NoError(t, here.SetDeadline(time.Now().Add(10*time.Second)))
	c.lastAnswer()
	n, err := c.Write([]byte("answer"))
	require.NoError(t, err)
	require.Equal(t, 6, n)
	got := make(chan string, 2)
	go func() {
		b := make([]byte, 32)
		for range 2 {
			n, _ := there.Read(b)
			got <- string(b[:n])
		}
	}()
	n, err = c.Write([]byte("alert"))
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.Equal(t, "answeralert", <-got)
	_, err = c.Write([]byte("more"))
	require.NoError(t, err)
	require.Equal(t, "more", <-got, "an answer of several writes goes on")
}
