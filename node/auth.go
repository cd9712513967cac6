package node

import (
	"context"
	"crypto/subtle"
	"net/http"
	"reflect"
	"strings"
	"time"

	"redflag/api"
	"redflag/trust/pki"
)

type identityKey struct{}

// identity returns who the client certificate says the caller is.
func identity(ctx context.Context) pki.Identity {
	id, _ := ctx.Value(identityKey{}).(pki.Identity)
	return id
}

// asMember admits callers whose certificate has one of roles.
func (n *Node) asMember(h handler, roles ...pki.Role) handler {
	return func(r *http.Request) (any, error) {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
			return nil, api.Errorf(api.CodeUnauthenticated, "this needs a client certificate of the cluster").
				WithHint("enrol with a registration token first")
		}
		id, err := pki.IdentityOf(*r.TLS)
		if err != nil {
			return nil, api.Errorf(api.CodeUnauthenticated, "the client certificate names no member of the cluster")
		}
		for _, role := range roles {
			if id.Role != role {
				continue
			}
			if err := n.checkMember(r, id); err != nil {
				return nil, err
			}
			return h(r.WithContext(context.WithValue(r.Context(), identityKey{}, id)))
		}
		return nil, api.Errorf(api.CodeDenied, "%s %s may not do this", id.Role, id.ID)
	}
}

// checkMember compares the certificate's key with the one that enrolled: a
// certificate alone does not outlive its member.
func (n *Node) checkMember(r *http.Request, id pki.Identity) error {
	keyID := pki.CertificateKeyID(r.TLS.PeerCertificates[0])
	var enrolled string
	if id.Role == pki.RoleAgent {
		if a, ok := n.state().Agent(id.ID); ok {
			enrolled = a.KeyID
			if !a.RevokedAt.IsZero() {
				return api.Errorf(api.CodeDenied, "agent %s was put out", id.ID).WithHint("enrol it again with a new key")
			}
		}
	} else if m, ok := n.state().Node(id.ID); ok {
		enrolled = m.KeyID
	}
	switch enrolled {
	case keyID:
		return nil
	case "":
		// Enrolment may not have reached this node's state yet.
		return api.Errorf(api.CodeBehind, "node %s does not know %s %s yet", n.cfg.ID, id.Role, id.ID).
			WithHint("ask another node")
	default:
		return api.Errorf(api.CodeDenied, "%s %s is enrolled with another key", id.Role, id.ID)
	}
}

type operatorKey struct{}

// operatorOf returns the operator on whose behalf a request runs. It is the
// zero Operator, which may do nothing, outside of a group that admits one.
func operatorOf(ctx context.Context) api.Operator {
	op, _ := ctx.Value(operatorKey{}).(api.Operator)
	return op
}

// asOperator admits callers with an operator's API token or session: viewers
// look, operators change. Every change is in the audit log before it is made.
func (n *Node) asOperator(h handler) handler {
	return func(r *http.Request) (any, error) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return n.asRole(api.OperatorViewer, h)(r)
		}
		return n.asRole(api.OperatorRuns, h)(r)
	}
}

// asAdmin admits admins only; those who look need not be one.
func (n *Node) asAdmin(h handler) handler {
	return func(r *http.Request) (any, error) {
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return n.asRole(api.OperatorViewer, h)(r)
		}
		return n.asRole(api.OperatorAdmin, h)(r)
	}
}

// scopeAware are the changes that bound themselves to an operator's scope. All
// others are refused to operators that have one.
var scopeAware = map[string]bool{
	"POST /v1/rollouts":             true,
	"POST /v1/rollouts/{id}/cancel": true,
}

func (n *Node) asRole(least api.OperatorRole, h handler) handler {
	return func(r *http.Request) (any, error) {
		op, err := n.caller(r)
		if err != nil {
			return nil, err
		}
		if op.Role.Rank() < least.Rank() {
			n.auditEvent(r, op.ID, "denied: "+r.Pattern, r.URL.Path, "needs the role "+string(least))
			return nil, api.Errorf(api.CodeDenied, "%s is a %s, this needs the role %s", op.ID, op.Role, least).
				WithHint("ask an admin for: redflag operator create NAME --role %s", least)
		}
		ctx := context.WithValue(r.Context(), operatorKey{}, op)
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return h(r.WithContext(ctx))
		}
		if op.Scope != nil && !scopeAware[r.Pattern] {
			n.auditEvent(r, op.ID, "denied: "+r.Pattern, r.URL.Path, "the operator has a scope")
			return nil, api.Errorf(api.CodeDenied, "%s may act on some agents only, and this is about all", op.ID).
				WithHint("redflag operator whoami shows the scope")
		}
		return n.audited(op.ID, r.WithContext(ctx), h)
	}
}

// caller returns who a request comes from, by its token or else its session.
func (n *Node) caller(r *http.Request) (api.Operator, error) {
	if err := n.guesses.spent(r); err != nil {
		return api.Operator{}, err
	}
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		if _, err := r.Cookie(sessionCookie); err == nil {
			op, _, err := n.openSession(r)
			return op, err
		}
		return api.Operator{}, api.Errorf(api.CodeUnauthenticated, "this needs an operator's API token").
			WithHint("pass --credential FILE; the first node wrote operator.json in its data directory")
	}
	op, _, err := n.authenticate(token)
	if api.CodeOf(err) == api.CodeUnauthenticated {
		n.guesses.failed(r)
		n.auditEvent(r, "stranger", "denied: "+r.Pattern, r.URL.Path, err.Error())
	}
	return op, err
}

// authenticate returns who a token speaks for, and the hash of its secret.
func (n *Node) authenticate(token string) (api.Operator, []byte, error) {
	id, secret, named := pki.SplitOperatorToken(token)
	if !named {
		id, secret = api.Founder, token
	}
	if _, err := n.founded(); err != nil {
		return api.Operator{}, nil, err
	}
	op, hash, _ := n.operator(id)
	if subtle.ConstantTimeCompare(pki.HashSecret(secret), hash) != 1 {
		return api.Operator{}, nil, api.Errorf(api.CodeUnauthenticated, "the API token is not valid here").
			WithHint("is the credential file from this cluster?")
	}
	if !op.Live(time.Now()) {
		return api.Operator{}, nil, api.Errorf(api.CodeUnauthenticated, "the API token of %s has ended", id).
			WithHint("ask an admin for a new one: redflag operator create")
	}
	return op, hash, nil
}

// operator returns a named operator, or the founder.
func (n *Node) operator(id string) (api.Operator, []byte, bool) {
	if id != api.Founder {
		return n.state().Operator(id)
	}
	cluster, ok := n.state().Cluster()
	return api.Operator{ID: api.Founder, Role: api.OperatorAdmin, CreatedAt: cluster.CreatedAt}, cluster.OperatorTokenHash, ok
}

// withinScope refuses an operator what reaches beyond the agents it may act on.
func withinScope(ctx context.Context, s api.Selector) error {
	narrowed, err := s.Within(operatorOf(ctx).Scope)
	if err == nil && !reflect.DeepEqual(narrowed, s) {
		err = api.Errorf(api.CodeDenied, "this reaches agents outside of your scope").WithHint("redflag operator whoami")
	}
	return err
}

// operator names the caller of an operators' route, for records of who did what.
func operator(r *http.Request) string { return operatorOf(r.Context()).ID }
