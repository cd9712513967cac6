package state

import (
	"cmp"
	"slices"

	"redflag/api"
)

// PublishArtifact makes a version of a payload known, together with the signed
// metadata that names it. The same version again with another hash is a
// conflict. With the same hash it is accepted and the artifact stays as it is,
// but for deltas that it did not have; of its metadata, targets that are next
// in turn are stored all the same, and all others are taken for a repeat.
type PublishArtifact struct {
	Artifact  api.Artifact `cbor:"1,keyasint"` // PublishedAt is not the caller's
	Targets   Metadata     `cbor:"2,keyasint"`
	Snapshot  Metadata     `cbor:"3,keyasint"`
	Timestamp Metadata     `cbor:"4,keyasint"`
	// Role is the delegated role that Targets is of; empty for targets itself.
	Role string `cbor:"5,keyasint,omitempty"`
}

func (PublishArtifact) entryType() EntryType { return TypePublishArtifact }

func (e PublishArtifact) level() int {
	if e.Role != "" {
		return levelRoles
	}
	return 1
}

func (e PublishArtifact) apply(t *tx) []*api.Error { return one(e.publish(t)) }

func (e PublishArtifact) publish(t *tx) *api.Error {
	if err := e.validate(); err != nil {
		return err
	}
	key := artifactKey(e.Artifact.Name, e.Artifact.Version)
	var have api.Artifact
	if t.get(key, &have) {
		if have.SHA256 != e.Artifact.SHA256 {
			return api.Errorf(api.CodeConflict, "%s %s is published with another content", e.Artifact.Name, e.Artifact.Version).
				WithHint("publish it as another version")
		}
		if e.Targets.Version != t.trustVersions()[e.role()]+1 {
			return nil
		}
		if err := e.putMetadata(t); err != nil {
			return err
		}
		e.addDeltas(t, key, have)
		return nil
	}
	if err := e.putMetadata(t); err != nil {
		return err
	}
	a := e.Artifact
	a.PublishedAt = t.now
	t.put(key, a)
	return nil
}

// addDeltas keeps the deltas that a later publication brought.
func (e PublishArtifact) addDeltas(t *tx, key []byte, have api.Artifact) {
	known := len(have.Deltas)
	for _, d := range e.Artifact.Deltas {
		if len(have.Deltas) < api.MaxDeltas && !slices.ContainsFunc(have.Deltas, func(o api.Delta) bool { return o.FromSHA256 == d.FromSHA256 }) {
			have.Deltas = append(have.Deltas, d)
		}
	}
	if len(have.Deltas) > known {
		t.put(key, have)
	}
}

func (e PublishArtifact) role() string { return cmp.Or(e.Role, RoleTargets) }

func (e PublishArtifact) putMetadata(t *tx) *api.Error {
	return t.putTrust([]roleFile{{e.role(), e.Targets}, {RoleSnapshot, e.Snapshot}, {RoleTimestamp, e.Timestamp}})
}

func (e PublishArtifact) validate() *api.Error {
	a := &e.Artifact
	if e.Role != "" {
		if err := checkDelegated(e.Role); err != nil {
			return err
		}
	}
	if err := api.CheckID("artifact", a.Name); err != nil {
		return refusal(err)
	}
	if err := api.CheckID("version", a.Version); err != nil {
		return refusal(err)
	}
	if !isHexSHA256(a.SHA256) {
		return api.Errorf(api.CodeInvalid, "artifact hash is not a SHA-256 in lower-case hex")
	}
	if a.Length < 0 {
		return api.Errorf(api.CodeInvalid, "artifact length %d is negative", a.Length)
	}
	if len(a.Deltas) > api.MaxDeltas {
		return api.Errorf(api.CodeInvalid, "%d deltas are too many", len(a.Deltas))
	}
	return nil
}
