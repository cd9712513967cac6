package state

import (
	"bytes"
	"maps"
	"slices"
	"strconv"

	"redflag/api"
)

// The roles of the TUF repository, as TrustVersions names them.
const (
	RoleRoot      = "root"
	RoleTargets   = "targets"
	RoleSnapshot  = "snapshot"
	RoleTimestamp = "timestamp"
)

// keptVersions is how many versions of targets, of each role that it delegates to
// and of snapshot stay readable. An
// agent that read the timestamp a moment ago may still ask for an older one.
const keptVersions = 4

// Metadata is one signed file of the TUF repository.
type Metadata struct {
	Version int64  `cbor:"1,keyasint"` // from 1
	Bytes   []byte `cbor:"2,keyasint"`
}

// PutTrust replaces signed metadata, all of the given files or none. The first
// version of a role is free, each further one the current plus one; only the
// timestamp may leap.
type PutTrust struct {
	Root      *Metadata `cbor:"1,keyasint,omitempty"`
	Targets   *Metadata `cbor:"2,keyasint,omitempty"`
	Snapshot  *Metadata `cbor:"3,keyasint,omitempty"`
	Timestamp *Metadata `cbor:"4,keyasint,omitempty"`
	// OnlineKey, if set, is the public half of the next online key, which the
	// root names and which takes the place of the present one.
	OnlineKey []byte `cbor:"5,keyasint,omitempty"`
	// Roles are files of delegated roles, by name.
	Roles map[string]Metadata `cbor:"6,keyasint,omitempty"`
}

func (PutTrust) entryType() EntryType { return TypePutTrust }

func (e PutTrust) level() int {
	if len(e.Roles) > 0 {
		return levelRoles
	}
	return 1
}

func (e PutTrust) apply(t *tx) []*api.Error {
	var files []roleFile
	add := func(role string, m *Metadata) {
		if m != nil {
			files = append(files, roleFile{role, *m})
		}
	}
	add(RoleRoot, e.Root)
	add(RoleTargets, e.Targets)
	for _, role := range slices.Sorted(maps.Keys(e.Roles)) {
		if err := checkDelegated(role); err != nil {
			return one(err)
		}
		files = append(files, roleFile{role, e.Roles[role]})
	}
	add(RoleSnapshot, e.Snapshot)
	add(RoleTimestamp, e.Timestamp)
	if len(files) == 0 {
		return one(api.Errorf(api.CodeInvalid, "no metadata was given"))
	}
	if e.OnlineKey == nil {
		return one(t.putTrust(files))
	}
	var c Cluster
	if !t.get(keyCluster, &c) || !bytes.Equal(c.NextOnlineKeyPublic, e.OnlineKey) {
		return one(api.Errorf(api.CodeConflict, "the next online key is another one").WithHint("redflag keys rotate online"))
	}
	if err := t.putTrust(files); err != nil {
		return one(err)
	}
	c.SealedOnlineKey, c.OnlineKeyPublic = c.SealedNextOnlineKey, c.NextOnlineKeyPublic
	c.SealedNextOnlineKey, c.NextOnlineKeyPublic = nil, nil
	t.putCluster(c)
	return one(nil)
}

// PutOnlineKey keeps the online key that the next root is to name. Until then
// it signs nothing.
type PutOnlineKey struct {
	Sealed []byte `cbor:"1,keyasint"`
	Public []byte `cbor:"2,keyasint"` // PKIX DER
}

func (PutOnlineKey) entryType() EntryType { return TypePutOnlineKey }

func (e PutOnlineKey) apply(t *tx) []*api.Error {
	var c Cluster
	if !t.get(keyCluster, &c) {
		return one(notFounded())
	}
	if len(e.Sealed) == 0 || len(e.Public) == 0 {
		return one(api.Errorf(api.CodeInvalid, "the online key is empty"))
	}
	c.SealedNextOnlineKey, c.NextOnlineKeyPublic = e.Sealed, e.Public
	t.putCluster(c)
	return one(nil)
}

func notFounded() *api.Error { return api.Errorf(api.CodeConflict, "the cluster is not founded yet") }

// checkDelegated refuses a name that would be another role's file.
func checkDelegated(role string) *api.Error {
	switch role {
	case RoleRoot, RoleTargets, RoleSnapshot, RoleTimestamp:
		return api.Errorf(api.CodeInvalid, "%s is no delegated role", role)
	}
	if err := api.CheckID("role", role); err != nil {
		return refusal(err)
	}
	return nil
}

type roleFile struct {
	role string
	Metadata
}

// putTrust stores files under their names in a consistent-snapshot repository.
func (t *tx) putTrust(files []roleFile) *api.Error {
	versions := t.trustVersions()
	for _, f := range files {
		if err := f.follows(versions[f.role]); err != nil {
			return err
		}
	}
	for _, f := range files {
		versions[f.role] = f.Version
		t.putBytes(idKey(keyTrustFile, f.name(f.Version)), f.Bytes)
		if f.role != RoleRoot && f.role != RoleTimestamp {
			t.delete(idKey(keyTrustFile, f.name(f.Version-keptVersions)))
		}
	}
	t.put(keyTrust, versions)
	return nil
}

// trustVersions returns the current version of each role that has one.
func (t *tx) trustVersions() map[string]int64 {
	versions := map[string]int64{}
	t.get(keyTrust, &versions)
	return versions
}

// follows refuses a file that is not the successor of the current version, 0
// for none.
func (f roleFile) follows(current int64) *api.Error {
	if f.Version < 1 || len(f.Bytes) == 0 {
		return api.Errorf(api.CodeInvalid, "%s metadata is empty", f.role)
	}
	ok := f.Version == current+1
	if current == 0 || f.role == RoleTimestamp {
		ok = f.Version > current
	}
	if !ok {
		return api.Errorf(api.CodeConflict, "%s metadata changed: it is at version %d, so %d cannot follow", f.role, current, f.Version).
			WithHint("fetch the metadata and try again")
	}
	return nil
}

// name returns the file name of a version of the role.
func (f roleFile) name(version int64) string {
	if f.role == RoleTimestamp {
		return "timestamp.json"
	}
	return strconv.FormatInt(version, 10) + "." + f.role + ".json"
}
