package api

import "time"

// Order is a command as a node signs it for one agent. The agent believes
// Payload and nothing beside it: what a later version adds to a command is
// signed without an earlier one having to know it.
type Order struct {
	Payload     []byte `json:"payload"`     // JSON of OrderBody
	Certificate []byte `json:"certificate"` // of the node that signed, PEM
	Signature   []byte `json:"signature"`   // Ed25519
}

// OrderBody is what an Order signs.
type OrderBody struct {
	Agent     string    `json:"agent"`
	Command   Command   `json:"command"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

// OrderLife is how long an agent may take in an order after it was signed. A
// command that is handed out again is signed again.
const OrderLife = 24 * time.Hour

// TrustSeen says which of the cluster's trust an agent already has.
type TrustSeen struct {
	Authorities uint64 `json:"authorities"` // version of the CA bundle
	Revoked     uint64 `json:"revoked"`     // version of the revocation list
	// Machine is a hash of the machine's own id; a copied disk has another.
	Machine string `json:"machine,omitempty"`
	// CSR asks for a new certificate for the enrolled key, PKCS #10 DER.
	CSR []byte `json:"csr,omitempty"`
}

// TrustNews is what has changed of it. An empty field has not changed.
type TrustNews struct {
	AuthoritiesVersion uint64 `json:"authorities_version,omitempty"`
	Authorities        []byte `json:"authorities,omitempty"` // PEM bundle
	RevokedVersion     uint64 `json:"revoked_version,omitempty"`
	// Revoked lists the key ids of members whose certificates count no more;
	// the list is whole, not a difference.
	Revoked     []string `json:"revoked,omitempty"`
	Certificate []byte   `json:"certificate,omitempty"` // PEM, for TrustSeen.CSR
}

// Incident is something that an agent refused for its security.
type Incident struct {
	At      time.Time `json:"at"`
	Class   string    `json:"class"` // such as "order" or "verify"
	Detail  string    `json:"detail"`
	Command string    `json:"command,omitempty"`
	Node    string    `json:"node,omitempty"` // who the agent had it from
}

// MaxIncidents is how many incidents one poll may carry.
const MaxIncidents = 16

// RenewRequest asks for a certificate after the old one has expired. Nothing
// but the enrolled key can use the answer.
type RenewRequest struct {
	AgentID string `json:"agent_id"`
	CSR     []byte `json:"csr"`
}

// RenewResponse is a new certificate and what to believe from now on.
type RenewResponse struct {
	Certificate []byte `json:"certificate"`
	Authorities []byte `json:"authorities"`
}

// CAStage is where a roll-over of the cluster's CA stands.
type CAStage string

// The stages of a roll-over, in order. Each waits until every member has
// confirmed the one before.
const (
	CASteady  CAStage = ""        // one authority
	CASpread  CAStage = "spread"  // the next authority is handed to everybody
	CAReissue CAStage = "reissue" // it signs, and every member gets a new certificate
)

// CAStatus is the cluster's authorities and how far a roll-over is.
type CAStatus struct {
	Stage       CAStage       `json:"stage"`
	Since       time.Time     `json:"since,omitzero"`
	Authorities []CAAuthority `json:"authorities"` // the one that signs first
	// Bundle is all of them, PEM, for clients that check the servers with it.
	Bundle []byte `json:"bundle"`
	// Waiting names members that have not confirmed the stage, 100 at most.
	Waiting []string `json:"waiting,omitempty"`
}

// CAAuthority is one certificate of the bundle.
type CAAuthority struct {
	ID       string    `json:"id"` // key id, hex
	NotAfter time.Time `json:"not_after"`
}

// CAAdvance moves a roll-over on.
type CAAdvance struct {
	// Force does not wait for members that have not confirmed. They have to
	// enrol again.
	Force bool `json:"force,omitempty"`
}

// RevokeRequest takes a member's certificate out of service for good.
type RevokeRequest struct {
	Reason string `json:"reason,omitempty"`
}
