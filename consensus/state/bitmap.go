package state

import (
	"bytes"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/cockroachdb/pebble/v2"
)

// encodeBitmap returns the one encoding of a set. The library's own depends on
// how the set came about, and equal states must have equal bytes.
func encodeBitmap(set *roaring.Bitmap) ([]byte, error) {
	canonical := roaring.New()
	canonical.AddMany(set.ToArray())
	canonical.RunOptimize()
	b, err := canonical.ToBytes()
	if err != nil {
		return nil, fmt.Errorf("encode bitmap: %w", err)
	}
	return b, nil
}

// getMembers returns the ordinals of the agents that a rollout was created
// for: none for an unknown rollout.
func getMembers(r pebble.Reader, rolloutID string) (*roaring.Bitmap, error) {
	set := roaring.New()
	err := viewRow(r, idKey(keyMembers, rolloutID), func(b []byte) error {
		if _, err := set.ReadFrom(bytes.NewReader(b)); err != nil {
			return fmt.Errorf("decode bitmap: %w", err)
		}
		return set.Validate()
	})
	return set, err
}
