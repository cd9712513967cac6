package node

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"

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
	keyID, err := pki.KeyID(r.TLS.PeerCertificates[0].PublicKey)
	if err != nil {
		return api.Errorf(api.CodeUnauthenticated, "the client certificate's key is of no known kind")
	}
	var enrolled string
	if id.Role == pki.RoleAgent {
		if a, ok := n.state().Agent(id.ID); ok {
			enrolled = a.KeyID
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

// asOperator admits callers with the operators' API token.
func (n *Node) asOperator(h handler) handler {
	return func(r *http.Request) (any, error) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			return nil, api.Errorf(api.CodeUnauthenticated, "this needs an operator's API token").
				WithHint("pass --credential FILE; the first node wrote operator.json in its data directory")
		}
		cluster, ok := n.state().Cluster()
		if !ok {
			return nil, api.Errorf(api.CodeUnavailable, "node %s has not caught up with the cluster yet", n.cfg.ID)
		}
		sum := sha256.Sum256([]byte(token))
		if subtle.ConstantTimeCompare(sum[:], cluster.OperatorTokenHash) != 1 {
			return nil, api.Errorf(api.CodeUnauthenticated, "the API token is not valid here").
				WithHint("is the credential file from this cluster?")
		}
		return h(r)
	}
}

// operator names the caller of an operators' route, for records of who did what.
func operator(*http.Request) string { return "operator" }
