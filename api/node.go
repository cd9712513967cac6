package api

import "time"

// Node is a regional server.
type Node struct {
	ID         string    `json:"id" cbor:"1,keyasint"`
	Region     string    `json:"region" cbor:"2,keyasint"`
	MeshAddr   string    `json:"mesh_addr" cbor:"3,keyasint"`
	EnrolledAt time.Time `json:"enrolled_at" cbor:"4,keyasint"`
	KeyID      string    `json:"key_id" cbor:"5,keyasint"`
	// NonVoter nodes hold the state and answer polls, and do not vote: for
	// regions that are far from the voters.
	NonVoter bool `json:"non_voter,omitempty" cbor:"6,keyasint,omitempty"`
	// Confirmed is the newest CA bundle that the node has, and Issuer the
	// authority of its certificate, by key id.
	Confirmed uint64 `json:"-" cbor:"40,keyasint,omitempty"`
	Issuer    string `json:"-" cbor:"41,keyasint,omitempty"`

	// Soft state: what gossip and Raft know at this moment.
	Alive   bool   `json:"alive" cbor:"-"`
	Leader  bool   `json:"leader" cbor:"-"`
	Voter   bool   `json:"voter" cbor:"-"`
	Version string `json:"version,omitempty" cbor:"-"`
	// Load is the share of its poll budget that the node uses, in percent, and
	// RTT the estimated round trip from the node that was asked.
	Load int      `json:"load" cbor:"-"`
	RTT  Duration `json:"rtt,omitempty" cbor:"-"`
}

// NodeAddr is how an agent finds a node. Lists of it come ranked, best first.
type NodeAddr struct {
	ID     string `json:"id"`
	Region string `json:"region"`
	Addr   string `json:"addr"` // host:port of the mesh listener
	// NonVoter is what a node says of itself to the cluster.
	NonVoter bool `json:"non_voter,omitempty"`
	// Load is the share of its poll budget that the node uses, in percent, and
	// RTT the round trip to it from the node that made the list, 0 if unknown.
	Load int      `json:"load,omitempty"`
	RTT  Duration `json:"rtt,omitempty"`
}

// Health is a node's own view of itself, in full.
type Health struct {
	Status Status  `json:"status"`
	Checks []Check `json:"checks"`
	// Serving says whether load balancers should send callers here: trouble
	// that another node shares does not take a node out.
	Serving bool `json:"serving"`

	Node         string    `json:"node"`
	Region       string    `json:"region"`
	ClusterID    string    `json:"cluster_id"`
	Version      string    `json:"version"`
	StartedAt    time.Time `json:"started_at"`
	RaftState    string    `json:"raft_state"`
	Term         uint64    `json:"term"`
	Leader       string    `json:"leader"`
	CommitIndex  uint64    `json:"commit_index"`
	AppliedIndex uint64    `json:"applied_index"`
	Voters       int       `json:"voters"`
	Peers        []Node    `json:"peers"`
	DiskFree     int64     `json:"disk_free"`
	DiskTotal    int64     `json:"disk_total"`
	// Seeding lists the info hashes of the payloads that this node has whole.
	Seeding []string `json:"seeding,omitempty"`
	// WANBytes counts payload bytes fetched from nodes of other regions, by
	// info hash.
	WANBytes map[string]int64 `json:"wan_bytes,omitempty"`
	// Expiries lists what somebody must renew, the next first: the CA, and what
	// the offline keys have signed. What renews itself is there once it is late.
	Expiries []Expiry `json:"expiries,omitempty"`
}

// Expiry is the end of a signature or a certificate.
type Expiry struct {
	What string    `json:"what"`
	At   time.Time `json:"at"`
}

// PublicHealth is what a stranger may know: enough for a load balancer.
type PublicHealth struct {
	Status  Status `json:"status"`
	Version string `json:"version"`
}

// Status is the result of a check.
type Status string

// Results of a check, the best first.
const (
	StatusOK       Status = "ok"
	StatusWarn     Status = "warn"
	StatusCritical Status = "critical"
)

// Worse returns the worse of two results.
func (s Status) Worse(o Status) Status {
	if s == StatusCritical || o == StatusCritical {
		return StatusCritical
	}
	if s == StatusWarn || o == StatusWarn {
		return StatusWarn
	}
	return StatusOK
}

// Check is one finding. Advice says what to do and is empty when all is well.
type Check struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`
	Advice string `json:"advice,omitempty"`
	// Since is when the check came to this result, by the node's clock.
	Since time.Time `json:"since,omitzero"`
}

// NodeProbe is what nodes tell each other to compare themselves.
type NodeProbe struct {
	Node            string    `json:"node"`
	Now             time.Time `json:"now"`
	Version         string    `json:"version"`
	SettingsVersion uint64    `json:"settings_version"`
	AppliedIndex    uint64    `json:"applied_index"`
	// RaftTimeout is what the node was started with.
	RaftTimeout Duration `json:"raft_timeout"`
	// WantedTimeout is what the cluster's settings ask for; zero asks nothing.
	WantedTimeout Duration `json:"wanted_timeout"`
}
