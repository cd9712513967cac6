package pki

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"redflag/api"
)

// orderDomain keeps a node's signature on an order from meaning anything else:
// TLS signs with the same key, over other prefixes.
const orderDomain = "redflag-order/1\x00"

// maxOrder bounds the payload of an order, in bytes.
const maxOrder = 128 << 10

// ErrOrder says that a command was not signed by a node of the cluster for
// this agent and this time.
var ErrOrder = errors.New("the order is refused")

// SignOrder signs a command for an agent with this node's own key: an agent, or
// whoever holds the log, sees which node it was, and a node that is put out
// can command nobody any more.
func (c *Credentials) SignOrder(cmd api.Command, now time.Time) (*api.Order, error) {
	m := c.now.Load()
	if m.identity.Role != RoleNode {
		return nil, errors.New("sign order: only a node may")
	}
	cmd.Order = nil
	payload, err := json.Marshal(api.OrderBody{
		Agent: cmd.AgentID, Command: cmd, NotBefore: now.UTC(), NotAfter: now.Add(api.OrderLife).UTC(),
	})
	if err != nil {
		return nil, fmt.Errorf("sign order: %w", err)
	}
	key := m.certificate.PrivateKey.(ed25519.PrivateKey)
	return &api.Order{
		Payload: payload, Certificate: certPEM(m.certificate.Leaf.Raw),
		Signature: ed25519.Sign(key, append([]byte(orderDomain), payload...)),
	}, nil
}

// VerifyOrder returns the command of an order that a node signed for this agent
// and that may be taken in now, and the node. Everything else is ErrOrder.
func (c *Credentials) VerifyOrder(o *api.Order, now time.Time) (api.Command, Identity, error) {
	cmd, by, err := c.verifyOrder(o, now)
	if err != nil {
		return api.Command{}, by, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	return cmd, by, nil
}

func (c *Credentials) verifyOrder(o *api.Order, now time.Time) (api.Command, Identity, error) {
	if o == nil {
		return api.Command{}, Identity{}, errors.New("it is not signed")
	}
	if len(o.Payload) > maxOrder {
		return api.Command{}, Identity{}, fmt.Errorf("it has %d bytes, more than %d", len(o.Payload), maxOrder)
	}
	m := c.now.Load()
	key, by, err := c.nodeKey(m, o.Certificate, now)
	if err != nil {
		return api.Command{}, by, err
	}
	if !ed25519.Verify(key, append([]byte(orderDomain), o.Payload...), o.Signature) {
		return api.Command{}, by, errors.New("its signature is wrong")
	}
	var body api.OrderBody
	if err := json.Unmarshal(o.Payload, &body); err != nil {
		return api.Command{}, by, errors.New("it is malformed")
	}
	switch {
	case body.Agent != m.identity.ID || body.Command.AgentID != m.identity.ID:
		return api.Command{}, by, fmt.Errorf("it is for agent %.160q", body.Agent)
	case now.Add(clockSkew).Before(body.NotBefore):
		return api.Command{}, by, fmt.Errorf("it holds from %s on", body.NotBefore.Format(time.RFC3339))
	case now.After(body.NotAfter) || body.NotAfter.Sub(body.NotBefore) > api.OrderLife:
		return api.Command{}, by, fmt.Errorf("it held until %s", body.NotAfter.Format(time.RFC3339))
	}
	return body.Command, by, nil
}

// nodeKey verifies the certificate of a node of this cluster.
func (c *Credentials) nodeKey(m *material, text []byte, now time.Time) (ed25519.PublicKey, Identity, error) {
	certs, err := parseCertificates(text)
	if err != nil {
		return nil, Identity{}, err
	}
	leaf := certs[0]
	id, err := identityOfCert(leaf)
	if err != nil {
		return nil, Identity{}, err
	}
	if id.Role != RoleNode || id.ClusterID != m.identity.ClusterID {
		return nil, id, fmt.Errorf("%s may not give orders here", id)
	}
	_, err = leaf.Verify(x509.VerifyOptions{Roots: m.roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return nil, id, fmt.Errorf("the certificate of %s: %w", id, err)
	}
	if err := c.checkRevoked(leaf); err != nil {
		return nil, id, err
	}
	key, ok := leaf.PublicKey.(ed25519.PublicKey)
	if !ok {
		return nil, id, errors.New("the certificate's key is not Ed25519")
	}
	return key, id, nil
}
