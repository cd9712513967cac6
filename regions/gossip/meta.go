package gossip

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/memberlist"

	"redflag/api"
)

// meta is what a node says of itself beside its id. Keys that a newer version
// adds are skipped.
type meta struct {
	Region   string `cbor:"1,keyasint"`
	MeshAddr string `cbor:"2,keyasint"`
	Version  string `cbor:"3,keyasint,omitempty"`
	Load     int    `cbor:"4,keyasint,omitempty"`
}

// maxLoad bounds what a node may say of its load, in percent.
const maxLoad = 100_000

var metaMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		MaxNestedLevels:  4,
		MaxMapPairs:      64,
		MaxArrayElements: 64,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constant
	}
	return m
}()

var errMeta = errors.New("malformed node description")

func encodeMeta(m Member) ([]byte, error) {
	b, err := cbor.Marshal(meta{Region: m.Region, MeshAddr: m.MeshAddr, Version: m.Version, Load: m.Load})
	if err != nil {
		return nil, fmt.Errorf("encode node description: %w", err)
	}
	if _, err := decodeMeta(b); err != nil {
		return nil, fmt.Errorf("%w: region %q, mesh address %q, version %q", err, m.Region, m.MeshAddr, m.Version)
	}
	return b, nil
}

// decodeMeta reads at most memberlist.MetaMaxSize bytes.
func decodeMeta(b []byte) (meta, error) {
	var m meta
	if len(b) > memberlist.MetaMaxSize || metaMode.Unmarshal(b, &m) != nil {
		return meta{}, errMeta
	}
	if _, _, err := net.SplitHostPort(m.MeshAddr); err != nil {
		return meta{}, errMeta
	}
	if !api.ValidID(m.Region) || len(m.Version) > api.MaxIDLength || m.Load < 0 || m.Load > maxLoad {
		return meta{}, errMeta
	}
	return m, nil
}

// delegate hands memberlist this node's description. Nothing else is gossiped.
type delegate struct{ meta atomic.Pointer[[]byte] }

func (d *delegate) NodeMeta(int) []byte           { return *d.meta.Load() }
func (*delegate) NotifyMsg([]byte)                {}
func (*delegate) GetBroadcasts(int, int) [][]byte { return nil }
func (*delegate) LocalState(bool) []byte          { return nil }
func (*delegate) MergeRemoteState([]byte, bool)   {}
