package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"

	"redflag/api"
)

// Role is what a member of the cluster may do.
type Role string

// The roles of a member.
const (
	RoleNode  Role = "node"
	RoleAgent Role = "agent"
)

// Identity is who a certificate speaks for. It is the certificate's only URI
// name, spiffe://<cluster>/<region>/<role>/<id>.
type Identity struct {
	ClusterID string
	Role      Role
	ID        string
	Region    string
}

const spiffe = "spiffe"

// String returns the identity as its SPIFFE id.
func (i Identity) String() string { return i.uri().String() }

func (i Identity) uri() *url.URL {
	return &url.URL{
		Scheme: spiffe,
		Host:   i.ClusterID,
		Path:   "/" + i.Region + "/" + string(i.Role) + "/" + i.ID,
	}
}

// Validate returns a CodeInvalid error when a part of the identity could not
// stand in a certificate.
func (i Identity) Validate() error {
	if err := checkClusterID(i.ClusterID); err != nil {
		return err
	}
	if i.Role != RoleNode && i.Role != RoleAgent {
		return api.Errorf(api.CodeInvalid, "role is neither %s nor %s", RoleNode, RoleAgent)
	}
	if err := api.CheckID("region", i.Region); err != nil {
		return err
	}
	return api.CheckID(string(i.Role)+" id", i.ID)
}

// checkClusterID also keeps out what X.509 refuses in the host of a URI: an
// empty label, a label of more than 63 bytes.
func checkClusterID(s string) error {
	if err := api.CheckID("cluster id", s); err != nil {
		return err
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return api.Errorf(api.CodeInvalid, "cluster id %q is not a host name", s)
		}
	}
	return nil
}

// parseIdentity accepts exactly what Identity.String writes.
func parseIdentity(u *url.URL) (Identity, error) {
	parts := strings.Split(u.Path, "/")
	if len(parts) != 4 {
		return Identity{}, errBadIdentity
	}
	id := Identity{ClusterID: u.Host, Region: parts[1], Role: Role(parts[2]), ID: parts[3]}
	if id.Validate() != nil || id.String() != u.String() {
		return Identity{}, errBadIdentity
	}
	return id, nil
}

var (
	errBadIdentity  = api.Errorf(api.CodeUnauthenticated, "the certificate does not name a member of a cluster")
	errNoIdentity   = api.Errorf(api.CodeUnauthenticated, "no verified certificate was presented")
	errWrongCluster = api.Errorf(api.CodeUnauthenticated, "the certificate belongs to another cluster")
)

func identityOfCert(cert *x509.Certificate) (Identity, error) {
	if len(cert.URIs) != 1 {
		return Identity{}, errBadIdentity
	}
	return parseIdentity(cert.URIs[0])
}

// IdentityOf returns who is at the other end of a connection. It answers with
// a CodeUnauthenticated error unless the handshake verified a certificate, and
// never looks at one that was merely presented.
func IdentityOf(state tls.ConnectionState) (Identity, error) {
	if len(state.VerifiedChains) == 0 || len(state.VerifiedChains[0]) == 0 {
		return Identity{}, errNoIdentity
	}
	return identityOfCert(state.VerifiedChains[0][0])
}
