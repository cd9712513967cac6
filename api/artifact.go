package api

import "time"

// Artifact is one published version of a named payload. The nodes use it to
// place and list payloads. Agents do not trust it: what an agent installs is
// what the signed TUF target of the same path says.
type Artifact struct {
	Name        string    `json:"name" cbor:"1,keyasint"`
	Version     string    `json:"version" cbor:"2,keyasint"`
	Length      int64     `json:"length" cbor:"3,keyasint"`
	SHA256      string    `json:"sha256" cbor:"4,keyasint"`    // lower-case hex
	InfoHash    string    `json:"info_hash" cbor:"5,keyasint"` // BEP 3, lower-case hex
	PieceLength int64     `json:"piece_length" cbor:"6,keyasint"`
	PublishedAt time.Time `json:"published_at" cbor:"7,keyasint"`
	PublishedBy string    `json:"published_by,omitempty" cbor:"8,keyasint,omitempty"`
	// OriginNode is the node that took the upload, the first seed.
	OriginNode string `json:"origin_node" cbor:"9,keyasint"`
	// Coding says what Length and SHA256 become on a machine; nil if that is
	// the same.
	Coding *Coding `json:"coding,omitempty" cbor:"10,keyasint,omitempty"`
	// Deltas are shorter ways to this version from earlier ones.
	Deltas []Delta `json:"deltas,omitempty" cbor:"11,keyasint,omitempty"`
}

// Content returns the length and the SHA-256 of what machines install.
func (a *Artifact) Content() (length int64, sha256 string) {
	if a.Coding != nil {
		return a.Coding.Length, a.Coding.SHA256
	}
	return a.Length, a.SHA256
}

// OfDelta is what nodes place and list for one of a's deltas: as if it were
// the artifact's payload.
func (a *Artifact) OfDelta(d Delta) Artifact {
	out := *a
	out.Length, out.SHA256, out.InfoHash, out.PieceLength = d.Length, d.SHA256, d.InfoHash, d.PieceLength
	out.Coding, out.Deltas = nil, nil
	return out
}

// Delta is a patch that makes an artifact's version of an earlier one. It is
// signed as a target of its own, at DeltaPath.
type Delta struct {
	FromVersion string `json:"from_version" cbor:"1,keyasint"`
	FromSHA256  string `json:"from_sha256" cbor:"2,keyasint"`
	Length      int64  `json:"length" cbor:"3,keyasint"`
	SHA256      string `json:"sha256" cbor:"4,keyasint"` // of the patch
	InfoHash    string `json:"info_hash" cbor:"5,keyasint"`
	PieceLength int64  `json:"piece_length" cbor:"6,keyasint"`
}

// MaxDeltas bounds the deltas to one version.
const MaxDeltas = 32

// CodingMethod is how a payload is made smaller on the way.
type CodingMethod string

// The methods.
const (
	CodingZstd  CodingMethod = "zstd"  // RFC 8878, with a window of 8 MiB at most
	CodingDelta CodingMethod = "delta" // a patch against an earlier version, package delta
)

// Coding says what becomes of a target's bytes before they are installed. It
// is signed, so that nothing is unpacked beyond what the operator measured.
type Coding struct {
	Method CodingMethod `json:"method" cbor:"1,keyasint"`
	Length int64        `json:"length" cbor:"2,keyasint"` // of the payload as it is installed
	SHA256 string       `json:"sha256" cbor:"3,keyasint"` // of the same, lower-case hex
	// From is what a delta starts from.
	From *CodingFrom `json:"from,omitempty" cbor:"4,keyasint,omitempty"`
}

// CodingFrom is the installed payload that a delta needs.
type CodingFrom struct {
	Version string `json:"version" cbor:"1,keyasint"`
	Length  int64  `json:"length" cbor:"2,keyasint"`
	SHA256  string `json:"sha256" cbor:"3,keyasint"`
}

// TargetPath names the artifact in the TUF repository.
func TargetPath(name, version string) string { return name + "/" + version }

// DeltaPath names the patch to a version from the payload with this SHA-256.
// No version contains the sign between the two.
func DeltaPath(name, version, fromSHA256 string) string {
	return TargetPath(name, version) + "~" + fromSHA256
}

// TargetCustom is the signed custom field of a TUF target. It ties the swarm
// to the signature: the info hash is believed because the target is signed.
type TargetCustom struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	FileName    string `json:"file_name"`
	InfoHash    string `json:"info_hash"`
	PieceLength int64  `json:"piece_length"`
	// Install says how the payload is put on a machine; nil for a plain file.
	Install *Install `json:"install,omitempty"`
	// Coding says how the payload is made from the target; nil if it is it.
	Coding *Coding `json:"coding,omitempty"`
	// For says which machines may install it; nil for all.
	For *TargetFor `json:"for,omitempty"`
}

// TargetFor is the operator's signed word on where a target belongs. Every field
// that is set must hold, whatever the queue says.
type TargetFor struct {
	OS       []string `json:"os,omitempty"`       // as Go names it: linux, windows, darwin
	Arch     []string `json:"arch,omitempty"`     // amd64, arm64, …
	Hardware []string `json:"hardware,omitempty"` // the agent's label "hardware"
	// MinInstalled is the oldest version that may be updated from; a machine
	// without the artifact passes.
	MinInstalled string            `json:"min_installed,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
}

// PublishRequest makes an uploaded payload an artifact. Targets is the signed
// targets metadata that names it; the node adds snapshot and timestamp.
type PublishRequest struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Targets []byte `json:"targets"`
	// Role is the delegated role that Targets is of; empty for targets itself.
	Role string `json:"role,omitempty"`
}

// Upload is what a node says of a payload that it took in.
type Upload struct {
	Length      int64  `json:"length"`
	SHA256      string `json:"sha256"`
	InfoHash    string `json:"info_hash"`
	PieceLength int64  `json:"piece_length"`
}
