package state

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"redflag/api"
)

// Sizes of an encoded entry in bytes, header included.
const (
	// MaxEntry bounds an ordinary entry.
	MaxEntry = 256 << 10
	// MaxMetadataEntry bounds an entry that carries signed metadata.
	MaxMetadataEntry = 1 << 20
)

// ErrCorrupt says that an entry is not one that this version can apply: a
// wrong magic byte, an unknown schema version or type, or a malformed body. A
// node that meets one must stop; to skip it would be to diverge.
var ErrCorrupt = errors.New("entry cannot be applied by this version")

const (
	entryMagic    = 0xF5
	entrySchema   = 1
	entryHeader   = 12 // magic, schema, type (2), leader's unix nanoseconds (8)
	entryTimeFrom = 4
)

// EntryType says what an entry does. A number is never reused.
type EntryType uint16

// The types of entry.
const (
	TypeInitCluster     EntryType = 1
	TypePutNode         EntryType = 2
	TypeRemoveNode      EntryType = 3
	TypeCreateToken     EntryType = 4
	TypeRevokeToken     EntryType = 5
	TypeEnrolAgent      EntryType = 6
	TypePublishArtifact EntryType = 7
	TypePutTrust        EntryType = 8
	TypeCreateRollout   EntryType = 9
	TypeCancelRollout   EntryType = 10
	TypeLease           EntryType = 11
	TypeReports         EntryType = 12
	TypeChangeSettings  EntryType = 13
	TypeTick            EntryType = 14
	TypeChangeRollout   EntryType = 15
	TypeCancelCommand   EntryType = 16
	TypeBatch           EntryType = 25
	TypeAnnounce        EntryType = 26
	TypePutOnlineKey    EntryType = 40

	TypeEditSettings   EntryType = 60
	TypeChangeCA       EntryType = 41
	TypeConfirmTrust   EntryType = 42
	TypeRevokeAgent    EntryType = 43
	TypeAudit          EntryType = 44
	TypePutOperator    EntryType = 45
	TypeRevokeOperator EntryType = 46

	TypeLabelAgent EntryType = 70

	TypeAssignCoordinators EntryType = 80
)

// body is what each type of entry carries. apply validates a record before it
// changes anything, so that a refused record leaves no trace.
type body interface {
	entryType() EntryType
	apply(t *tx) []*api.Error
}

var bodies = map[EntryType]func([]byte) (body, error){
	TypeInitCluster:     decodeAs[InitCluster],
	TypePutNode:         decodeAs[PutNode],
	TypeRemoveNode:      decodeAs[RemoveNode],
	TypeCreateToken:     decodeAs[CreateToken],
	TypeRevokeToken:     decodeAs[RevokeToken],
	TypeEnrolAgent:      decodeAs[EnrolAgent],
	TypePublishArtifact: decodeAs[PublishArtifact],
	TypePutTrust:        decodeAs[PutTrust],
	TypeCreateRollout:   decodeAs[CreateRollout],
	TypeCancelRollout:   decodeAs[CancelRollout],
	TypeLease:           decodeAs[Lease],
	TypeReports:         decodeAs[Reports],
	TypeChangeSettings:  decodeAs[ChangeSettings],
	TypeTick:            decodeAs[Tick],
	TypeChangeRollout:   decodeAs[ChangeRollout],
	TypeCancelCommand:   decodeAs[CancelCommand],
	TypeAnnounce:        decodeAs[Announce],
	TypePutOnlineKey:    decodeAs[PutOnlineKey],

	TypeEditSettings:   decodeAs[EditSettings],
	TypeChangeCA:       decodeAs[ChangeCA],
	TypeConfirmTrust:   decodeAs[ConfirmTrust],
	TypeRevokeAgent:    decodeAs[RevokeAgent],
	TypeAudit:          decodeAs[Audit],
	TypePutOperator:    decodeAs[PutOperator],
	TypeRevokeOperator: decodeAs[RevokeOperator],

	TypeLabelAgent: decodeAs[LabelAgent],

	TypeAssignCoordinators: decodeAs[AssignCoordinators],
}

// A Batch holds bodies of other types, so it cannot stand in the table that
// decodes it.
func init() { bodies[TypeBatch] = decodeBatch }

func decodeAs[T body](b []byte) (body, error) {
	var v T
	err := unmarshal(b, &v)
	return v, err
}

// EncodeEntry encodes body, a struct of this package or a pointer to one, as
// an entry stamped with now. It returns a CodeTooLarge error for a body over
// the limit of its type.
func EncodeEntry(typ EntryType, now time.Time, value any) ([]byte, error) {
	b, ok := value.(body)
	if !ok || b.entryType() != typ {
		return nil, fmt.Errorf("encode entry: %T is not the body of type %d", value, typ)
	}
	enc, err := marshal(value)
	if err != nil {
		return nil, err
	}
	out := make([]byte, entryHeader, entryHeader+len(enc))
	out[0], out[1] = entryMagic, entrySchema
	binary.BigEndian.PutUint16(out[2:], uint16(typ))
	StampEntry(out, now)
	out = append(out, enc...)
	return out, checkSize(typ, len(out))
}

// StampEntry sets the time of an encoded entry. Only the leader's clock
// counts, so it stamps what other nodes encoded.
func StampEntry(entry []byte, now time.Time) {
	binary.BigEndian.PutUint64(entry[entryTimeFrom:], uint64(now.UnixNano()))
}

// CheckEntry returns an error wrapping ErrCorrupt when Apply would refuse the
// entry for good, and a CodeTooLarge error for one over its limit. The leader
// asks before it puts another node's entry into the log.
func CheckEntry(entry []byte) error {
	_, b, err := decodeEntry(entry)
	if err != nil {
		return err
	}
	return checkSize(b.entryType(), len(entry))
}

// TypeOfEntry returns the type of an encoded entry, or 0 for what is none.
func TypeOfEntry(entry []byte) EntryType {
	if len(entry) < entryHeader || entry[0] != entryMagic || entry[1] != entrySchema {
		return 0
	}
	return EntryType(binary.BigEndian.Uint16(entry[2:]))
}

func decodeEntry(entry []byte) (time.Time, body, error) {
	typ := TypeOfEntry(entry)
	decode, ok := bodies[typ]
	if !ok {
		return time.Time{}, nil, fmt.Errorf("%w: type %d, %d bytes", ErrCorrupt, typ, len(entry))
	}
	b, err := decode(entry[entryHeader:])
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("%w: type %d: %w", ErrCorrupt, typ, err)
	}
	nanos := int64(binary.BigEndian.Uint64(entry[entryTimeFrom:]))
	return time.Unix(0, nanos).UTC(), b, nil
}

func checkSize(typ EntryType, size int) error {
	limit := MaxEntry
	if typ == TypePublishArtifact || typ == TypePutTrust {
		limit = MaxMetadataEntry
	}
	if size > limit {
		return api.Errorf(api.CodeTooLarge, "a change of %d bytes is too large", size).
			WithHint("at most %d bytes fit", limit)
	}
	return nil
}
