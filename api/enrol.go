package api

import "time"

// TokenKind says what a registration token admits.
type TokenKind string

// The kinds of registration token.
const (
	TokenAgent TokenKind = "agent"
	TokenNode  TokenKind = "node"
)

// Token is a registration token as operators see it; the secret itself is
// shown once and never stored.
type Token struct {
	ID        string            `json:"id" cbor:"1,keyasint"`
	Kind      TokenKind         `json:"kind" cbor:"2,keyasint"`
	Seats     int               `json:"seats" cbor:"3,keyasint"`
	Used      int               `json:"used" cbor:"4,keyasint"`
	Labels    map[string]string `json:"labels,omitempty" cbor:"5,keyasint,omitempty"`
	CreatedAt time.Time         `json:"created_at" cbor:"6,keyasint"`
	ExpiresAt time.Time         `json:"expires_at" cbor:"7,keyasint"`
	Revoked   bool              `json:"revoked,omitempty" cbor:"8,keyasint,omitempty"`
}

// CreateTokenRequest asks for a registration token.
type CreateTokenRequest struct {
	Kind   TokenKind         `json:"kind"`
	Seats  int               `json:"seats"` // 1 to 100000
	TTL    Duration          `json:"ttl"`   // 1 minute to 1 year
	Labels map[string]string `json:"labels,omitempty"`
}

// Validate returns a CodeInvalid error for a token that cannot be made.
func (r *CreateTokenRequest) Validate() error {
	if r.Kind != TokenAgent && r.Kind != TokenNode {
		return Errorf(CodeInvalid, "token kind %q is not known", r.Kind).WithHint("use %s or %s", TokenAgent, TokenNode)
	}
	if r.Seats < 1 || r.Seats > 100_000 {
		return Errorf(CodeInvalid, "%d seats are out of range", r.Seats).WithHint("use 1 to 100000")
	}
	if ttl := time.Duration(r.TTL); ttl < time.Minute || ttl > 366*24*time.Hour {
		return Errorf(CodeInvalid, "a lifetime of %s is out of range", ttl).WithHint("use 1m to 8784h")
	}
	return CheckLabels(r.Labels)
}

// CreateTokenResponse carries the secret, once.
type CreateTokenResponse struct {
	Token  Token  `json:"token"`
	Secret string `json:"secret"`
	// Authority is the public key of the cluster's CA (Ed25519, 32 bytes), and
	// RootHash the SHA-256 of the first TUF root, empty before there is one.
	// Both travel in the registration token, so that enrolment believes no
	// server on its word.
	Authority []byte `json:"authority"`
	RootHash  []byte `json:"root_hash,omitempty"`
}

// EnrolAgentRequest asks for an agent's certificate. The key never leaves the
// machine; a repeat with the same key gets the same answer.
type EnrolAgentRequest struct {
	TokenID string            `json:"token_id"`
	Secret  string            `json:"secret"`
	AgentID string            `json:"agent_id"`
	Region  string            `json:"region"`
	Labels  map[string]string `json:"labels,omitempty"`
	CSR     []byte            `json:"csr"` // PKCS #10, DER
	Machine string            `json:"machine,omitempty"`
}

// EnrolAgentResponse makes the caller a member of the cluster.
type EnrolAgentResponse struct {
	ClusterID   string     `json:"cluster_id"`
	Certificate []byte     `json:"certificate"` // PEM
	Authorities []byte     `json:"authorities"` // PEM, the cluster's CA bundle
	Root        []byte     `json:"root"`        // TUF root metadata, believed only if its hash was pinned
	Nodes       []NodeAddr `json:"nodes"`
	// Labels are the agent's, with those of the token.
	Labels map[string]string `json:"labels,omitempty"`
}

// EnrolNodeRequest asks for a node's certificate.
type EnrolNodeRequest struct {
	TokenID  string `json:"token_id"`
	Secret   string `json:"secret"`
	NodeID   string `json:"node_id"`
	Region   string `json:"region"`
	MeshAddr string `json:"mesh_addr"`
	NonVoter bool   `json:"non_voter,omitempty"`
	CSR      []byte `json:"csr"`
}

// EnrolNodeResponse makes the caller a node of the cluster.
type EnrolNodeResponse struct {
	ClusterID   string `json:"cluster_id"`
	Certificate []byte `json:"certificate"`
	Authorities []byte `json:"authorities"`
	// SealingKey opens the secrets in the replicated state. Nodes keep it in
	// a file of their own; it is never logged and never in the Raft log.
	SealingKey []byte     `json:"sealing_key"`
	Nodes      []NodeAddr `json:"nodes"`
}

// TrustStatus is where the TUF repository stands.
type TrustStatus struct {
	ClusterID string `json:"cluster_id"`
	// OnlineKey is the public key of snapshot and timestamp, PKIX DER.
	OnlineKey []byte `json:"online_key"`
	// NextOnlineKey takes its place with the root that names it.
	NextOnlineKey []byte           `json:"next_online_key,omitempty"`
	Versions      map[string]int64 `json:"versions"` // by role; empty before the root is set
}

// TrustUpdate is new offline-signed metadata from an operator. Root may be
// alone; Targets names what may be installed, and Roles are the files of roles that
// it delegates to.
type TrustUpdate struct {
	Root    []byte            `json:"root,omitempty"`
	Targets []byte            `json:"targets,omitempty"`
	Roles   map[string][]byte `json:"roles,omitempty"`
}
