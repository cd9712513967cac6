package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/telemetry"
	"redflag/trust/pki"
)

// tokenPatience is how long a token that is not known here may take to arrive
// from the leader.
const tokenPatience = 3 * time.Second

// limited refuses enrolment beyond its rate.
func (n *Node) limited(h handler) handler {
	return func(r *http.Request) (any, error) {
		if !n.enrolments.of(int(n.settings().Int(api.SettingEnrolBudget))).Allow() {
			return nil, api.Errorf(api.CodeRateLimited, "too many enrolments at once").WithHint("try again in a second")
		}
		if err := n.guesses.spent(r); err != nil {
			return nil, err
		}
		out, err := h(r)
		if code := api.CodeOf(err); code == api.CodeUnauthenticated || code == api.CodeDenied {
			n.guesses.failed(r)
			n.auditEvent(r, "stranger", "denied: "+r.Pattern, r.URL.Path, err.Error())
		}
		return out, err
	}
}

func (n *Node) enrolAgent(r *http.Request) (any, error) {
	var req api.EnrolAgentRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := api.CheckID("agent id", req.AgentID); err != nil {
		return nil, err
	}
	if err := api.CheckID("region", req.Region); err != nil {
		return nil, err
	}
	if err := api.CheckLabels(req.Labels); err != nil {
		return nil, err
	}
	if req.Machine != "" {
		if err := api.CheckID("machine", req.Machine); err != nil {
			return nil, err
		}
	}
	keyID, err := pki.CSRKeyID(req.CSR)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the certificate request cannot be used: %v", err)
	}
	secret := pki.HashSecret(req.Secret)
	if err := n.checkToken(r.Context(), api.TokenAgent, req.TokenID, secret); err != nil {
		return nil, err
	}
	if have, ok := n.state().Agent(req.AgentID); ok && have.Region != req.Region { // its certificate would not be renewed
		return nil, api.Errorf(api.CodeConflict, "agent %s is of region %s", req.AgentID, have.Region).
			WithHint("enrol it with --region %s, or under another id", have.Region)
	}
	res, err := n.propose(r.Context(), state.TypeEnrolAgent, state.EnrolAgent{
		Agent:   api.Agent{ID: req.AgentID, Region: req.Region, Labels: req.Labels, KeyID: keyID, Machine: req.Machine},
		TokenID: req.TokenID, TokenSecretHash: secret,
	})
	if err != nil {
		return nil, err
	}
	enrolled, _ := n.state().Agent(req.AgentID)
	cert, cluster, err := n.certify(req.CSR, pki.RoleAgent, req.AgentID, enrolled.Region)
	if err != nil {
		return nil, err
	}
	n.auditLater(r, "agent "+req.AgentID, "enrolled", req.AgentID, "token "+req.TokenID)
	root, _ := n.state().TrustFile("1.root.json")
	telemetry.For(r.Context(), n.log).Info("agent enrolled", telemetry.KeyAgent, req.AgentID, telemetry.KeyRegion, req.Region, "index", res.Index)
	return api.EnrolAgentResponse{
		Labels: enrolled.Labels, ClusterID: cluster.ID, Certificate: cert, Authorities: cluster.Authorities,
		Root: root, Nodes: n.nodesFor(req.Region),
	}, nil
}

func (n *Node) enrolNode(r *http.Request) (any, error) {
	var req api.EnrolNodeRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := api.CheckID("node id", req.NodeID); err != nil {
		return nil, err
	}
	if err := api.CheckID("region", req.Region); err != nil {
		return nil, err
	}
	keyID, err := pki.CSRKeyID(req.CSR)
	if err != nil {
		return nil, api.Errorf(api.CodeInvalid, "the certificate request cannot be used: %v", err)
	}
	secret := pki.HashSecret(req.Secret)
	// The answer has the sealing key in it: a request that somebody recorded must
	// not get it again, so that a repeat has to know the token as well.
	if err := n.checkToken(r.Context(), api.TokenNode, req.TokenID, secret); err != nil {
		return nil, err
	}
	_, err = n.propose(r.Context(), state.TypePutNode, state.PutNode{
		Node:    api.Node{ID: req.NodeID, Region: req.Region, MeshAddr: req.MeshAddr, KeyID: keyID, NonVoter: req.NonVoter},
		TokenID: req.TokenID, TokenSecretHash: secret,
	})
	if err != nil {
		return nil, err
	}
	cert, cluster, err := n.certify(req.CSR, pki.RoleNode, req.NodeID, req.Region)
	if err != nil {
		return nil, err
	}
	n.auditLater(r, "node "+req.NodeID, "enrolled", req.NodeID, "token "+req.TokenID)
	telemetry.For(r.Context(), n.log).Info("node enrolled", "enrolled", req.NodeID, "enrolled_region", req.Region)
	return api.EnrolNodeResponse{
		ClusterID: cluster.ID, Certificate: cert, Authorities: cluster.Authorities,
		SealingKey: n.sealingKey, Nodes: n.nodesFor(req.Region),
	}, nil
}

// checkToken refuses strangers from local state, so that they cannot fill the
// log. This node may be a moment behind the one that made the token: it looks
// again for longer than a tick takes.
func (n *Node) checkToken(ctx context.Context, kind api.TokenKind, id string, secretHash []byte) error {
	if err := api.CheckID("token id", id); err != nil {
		return err
	}
	deadline := time.Now().Add(tokenPatience)
	for {
		refusal := n.state().CheckToken(kind, id, secretHash, time.Now())
		if refusal == nil {
			return nil
		}
		if refusal.Code != api.CodeUnauthenticated || time.Now().After(deadline) {
			return refusal
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// certify signs a member's certificate with the cluster's CA key, which is
// unsealed for the moment of signing only.
func (n *Node) certify(csr []byte, role pki.Role, id, region string) ([]byte, state.Cluster, error) {
	cluster, err := n.founded()
	if err != nil {
		return nil, cluster, err
	}
	key, err := n.sealer.Open(cluster.SealedCAKey, sealCA)
	if err != nil {
		return nil, cluster, err
	}
	authority, err := pki.ParseIssuer(cluster.Authorities, key)
	if err != nil {
		return nil, cluster, err
	}
	cert, err := authority.Sign(csr, pki.Identity{ClusterID: cluster.ID, Role: role, ID: id, Region: region},
		certificateLife(n.state().Settings()), time.Now())
	return cert, cluster, err
}

func (n *Node) listTokens(r *http.Request) (any, error) {
	limit, err := pageLimit(r)
	if err != nil {
		return nil, err
	}
	return newPage(n.state().TokensAfter(r.URL.Query().Get("after"), limit), limit, func(t api.Token) string { return t.ID }), nil
}

func (n *Node) createToken(r *http.Request) (any, error) {
	var req api.CreateTokenRequest
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	cluster, ok := n.state().Cluster()
	if !ok {
		return nil, api.Errorf(api.CodeUnavailable, "node %s has not caught up with the cluster yet", n.cfg.ID)
	}
	authority, err := authorityKey(cluster.Authorities)
	if err != nil {
		return nil, err
	}
	once, err := n.once(r)
	if err != nil {
		return nil, err
	}
	if once == nil {
		once = &onceKey{id: shortID(), secret: pki.NewSecret()}
	}
	id, secret := "t-"+once.id, once.secret
	_, err = n.propose(r.Context(), state.TypeCreateToken, state.CreateToken{
		Token: api.Token{ID: id, Kind: req.Kind, Seats: req.Seats, Labels: req.Labels},
		TTL:   time.Duration(req.TTL), SecretHash: pki.HashSecret(secret),
	})
	if err != nil {
		return nil, err
	}
	token, ok := n.state().Token(id)
	if !ok {
		return nil, api.Errorf(api.CodeUnavailable, "node %s is stopping", n.cfg.ID)
	}
	resp := api.CreateTokenResponse{Token: token, Secret: secret, Authority: authority}
	if root, ok := n.state().TrustFile("1.root.json"); ok {
		sum := sha256.Sum256(root)
		resp.RootHash = sum[:]
	}
	return resp, nil
}

func (n *Node) revokeToken(r *http.Request) (any, error) {
	_, err := n.propose(r.Context(), state.TypeRevokeToken, state.RevokeToken{ID: r.PathValue("id")})
	return nil, err
}

// propose replicates one change and returns once it is committed and applied
// here. The first record's error is the caller's error.
func (n *Node) propose(ctx context.Context, typ state.EntryType, entry any) (state.Result, error) {
	began := time.Now()
	res, err := n.cluster.Propose(ctx, typ, entry)
	n.traceApply(ctx, began, entry, res.Index, errors.Join(err, res.Err()))
	if err != nil {
		return res, err
	}
	for _, e := range res.Errors {
		if e != nil {
			return res, e
		}
	}
	return res, nil
}
