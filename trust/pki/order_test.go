package pki

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

func TestVerifyOrder(t *testing.T) {
	a, now := newAuthorityFor(t, "c1"), time.Now()
	node, agent := enrol(t, a, RoleNode), enrol(t, a, RoleAgent)
	cmd := api.Command{ID: "r1:agent1", AgentID: "agent1", Kind: api.KindInstall}
	order, err := node.SignOrder(cmd, now)
	require.NoError(t, err)
	got, by, err := agent.VerifyOrder(order, now)
	require.NoError(t, err)
	require.Equal(t, []string{cmd.ID, "node1"}, []string{got.ID, by.ID})

	_, err = agent.SignOrder(cmd, now)
	require.Error(t, err, "an agent gives no orders")
	_, _, err = agent.VerifyOrder(order, now.Add(api.OrderLife+time.Second))
	require.ErrorIs(t, err, ErrOrder)
	_, _, err = agent.VerifyOrder(order, now.Add(-clockSkew-time.Second))
	require.ErrorIs(t, err, ErrOrder)
	stranger := enrol(t, newAuthorityFor(t, "c1"), RoleNode)
	forged, err := stranger.SignOrder(cmd, now)
	require.NoError(t, err)
	_, _, err = agent.VerifyOrder(forged, now)
	require.ErrorIs(t, err, ErrOrder, "another authority of the same name")
	agent.SetRevoked(func(keyID string) bool { return keyID == node.KeyID() })
	_, _, err = agent.VerifyOrder(order, now)
	require.ErrorIs(t, err, ErrOrder, "a node that was put out")
}

// FuzzVerifyOrder: a command that is believed is one that the node signed.
func FuzzVerifyOrder(f *testing.F) {
	a, now := newAuthorityFor(f, "c1"), time.Now()
	node, agent := enrol(f, a, RoleNode), enrol(f, a, RoleAgent)
	genuine, err := node.SignOrder(api.Command{ID: "r1:agent1", AgentID: "agent1"}, now)
	require.NoError(f, err)
	f.Add(genuine.Payload, genuine.Certificate, genuine.Signature)
	f.Add(genuine.Payload, agent.CertificatePEM(), genuine.Signature)
	f.Add([]byte("{}"), []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte{})
	f.Fuzz(func(t *testing.T, payload, certificate, signature []byte) {
		_, by, err := agent.VerifyOrder(&api.Order{Payload: payload, Certificate: certificate, Signature: signature}, now)
		if err != nil {
			require.ErrorIs(t, err, ErrOrder)
			return
		}
		require.Equal(t, "node1", by.ID)
		require.Equal(t, genuine.Payload, payload)
	})
}
