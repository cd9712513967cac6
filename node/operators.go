package node

import (
	"net/http"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
	"redflag/trust/pki"
)

func (n *Node) listOperators(*http.Request) (any, error) { return n.state().Operators(), nil }

func (n *Node) whoami(r *http.Request) (any, error) { return operatorOf(r.Context()), nil }

func (n *Node) createOperator(r *http.Request) (any, error) {
	var req api.CreateOperatorRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	secret := pki.NewSecret()
	_, err := n.propose(r.Context(), state.TypePutOperator, state.PutOperator{
		Operator: api.Operator{
			ID: req.ID, Role: req.Role, Scope: req.Scope, CreatedBy: operatorOf(r.Context()).ID,
			ExpiresAt: time.Now().Add(time.Duration(req.TTL)).UTC(),
		},
		SecretHash: pki.HashSecret(secret),
	})
	if err != nil {
		return nil, err
	}
	op, _, _ := n.state().Operator(req.ID)
	telemetry.For(r.Context(), n.log).Info("operator created", "operator", op.ID, "role", string(op.Role))
	return api.CreateOperatorResponse{Operator: op, Token: pki.OperatorToken(op.ID, secret)}, nil
}

func (n *Node) revokeOperator(r *http.Request) (any, error) {
	_, err := n.propose(r.Context(), state.TypeRevokeOperator, state.RevokeOperator{ID: r.PathValue("id")})
	return nil, err
}
