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
}

// TargetPath names the artifact in the TUF repository.
func TargetPath(name, version string) string { return name + "/" + version }

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
}

// Upload is what a node says of a payload that it took in.
type Upload struct {
	Length      int64  `json:"length"`
	SHA256      string `json:"sha256"`
	InfoHash    string `json:"info_hash"`
	PieceLength int64  `json:"piece_length"`
}
