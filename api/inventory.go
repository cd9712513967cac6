package api

import (
	"strings"
	"time"
)

// OSFacts says what a machine's operating system is.
type OSFacts struct {
	ID      string `json:"id" cbor:"1,keyasint"`                          // such as debian
	Version string `json:"version,omitempty" cbor:"2,keyasint,omitempty"` // such as 12
	Name    string `json:"name,omitempty" cbor:"3,keyasint,omitempty"`    // for people
	Kernel  string `json:"kernel,omitempty" cbor:"4,keyasint,omitempty"`
	Arch    string `json:"arch" cbor:"5,keyasint"`
}

// PackageUpdate is a newer version of a package of the operating system.
type PackageUpdate struct {
	Name      string `json:"name" cbor:"1,keyasint"`
	Installed string `json:"installed,omitempty" cbor:"2,keyasint,omitempty"`
	Candidate string `json:"candidate" cbor:"3,keyasint"`
	Security  bool   `json:"security,omitempty" cbor:"4,keyasint,omitempty"`
}

// Inventory is what a scan found on a machine.
type Inventory struct {
	At        time.Time   `json:"at" cbor:"1,keyasint"` // the agent's clock
	OS        OSFacts     `json:"os" cbor:"2,keyasint"`
	Artifacts []Installed `json:"artifacts,omitempty" cbor:"3,keyasint,omitempty"`
	// Manager is the package manager that was asked, empty for none.
	Manager string `json:"manager,omitempty" cbor:"4,keyasint,omitempty"`
	// Refreshed is when the machine last fetched its lists of packages: what
	// came out later is not among Updates.
	Refreshed time.Time       `json:"refreshed,omitzero" cbor:"5,keyasint,omitzero"`
	Updates   []PackageUpdate `json:"updates,omitempty" cbor:"6,keyasint,omitempty"`
	// Pending counts the updates, and Security those that mend security, also
	// where not all are listed.
	Pending  int `json:"pending" cbor:"7,keyasint"`
	Security int `json:"security" cbor:"8,keyasint"`
	// Problem is why the package manager could not be asked.
	Problem string `json:"problem,omitempty" cbor:"9,keyasint,omitempty"`
}

// Bounds of what the cluster keeps of one machine.
const (
	MaxUpdates       = 256
	MaxArtifacts     = 64
	maxInventoryText = 128
)

// Trim returns i within its bounds: updates that mend security come first, then
// the others, each by name.
func (i *Inventory) Trim() *Inventory {
	if i == nil {
		return nil
	}
	out := *i
	for _, s := range []*string{&out.OS.ID, &out.OS.Version, &out.OS.Name, &out.OS.Kernel, &out.OS.Arch, &out.Manager, &out.Problem} {
		*s = head(*s)
	}
	out.Artifacts, out.Updates = nil, nil
	for _, a := range i.Artifacts[:min(len(i.Artifacts), MaxArtifacts)] {
		a.Name, a.Version, a.SHA256, a.Previous = head(a.Name), head(a.Version), head(a.SHA256), head(a.Previous)
		out.Artifacts = append(out.Artifacts, a)
	}
	for _, security := range []bool{true, false} {
		for _, u := range i.Updates {
			if u.Security != security || len(out.Updates) == MaxUpdates {
				continue
			}
			u.Name, u.Installed, u.Candidate = head(u.Name), head(u.Installed), head(u.Candidate)
			out.Updates = append(out.Updates, u)
		}
	}
	out.Pending, out.Security = max(0, out.Pending), max(0, out.Security)
	return &out
}

func head(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), maxInventoryText)], "")
}

// OutdatedPackage is a package of the operating system that is outdated on some
// machines.
type OutdatedPackage struct {
	Name      string `json:"name"`
	Candidate string `json:"candidate"`
	Security  bool   `json:"security"`
	Agents    int    `json:"agents"`
	// Example is one of the agents.
	Example string `json:"example"`
}

// OutdatedArtifact is an artifact that machines have in an older version than the
// newest that was signed for them.
type OutdatedArtifact struct {
	Name      string `json:"name"`
	Installed string `json:"installed"`
	Newest    string `json:"newest"`
	Agents    int    `json:"agents"`
	// Example is one of the agents.
	Example string `json:"example"`
}

// Outdated is what is outdated on many machines: artifacts by their last polls, and
// packages of the operating system by their last scans.
type Outdated struct {
	Agents  int               `json:"agents"`  // that the selector picks
	Scanned int               `json:"scanned"` // of them
	Pending int               `json:"pending"` // of those, with at least one update
	Oldest  time.Time         `json:"oldest,omitzero"`
	Items   []OutdatedPackage `json:"items"`
	// Artifacts come the most frequent first.
	Artifacts []OutdatedArtifact `json:"artifacts"`
}

// ValidPackage reports whether s can name a package of the operating system in
// a command: a letter or digit, then up to 127 of those, '.', '_', '+' and '-'.
func ValidPackage(s string) bool { return ValidID(s) && s[0] != '_' && s[0] != '+' }

// ValidPackageVersion reports whether s can be a version of such a package: the
// same, and ':', '~' and '^' after the first character.
func ValidPackageVersion(s string) bool {
	return len(s) <= MaxIDLength && s != "" && ValidPackage(s[:1]+strings.Map(func(r rune) rune {
		if strings.ContainsRune(":~^", r) {
			return -1
		}
		return r
	}, s[1:]))
}
