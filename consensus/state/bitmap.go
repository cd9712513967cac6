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

// decodeBitmap reads a set, which may come from outside.
func decodeBitmap(b []byte) (*roaring.Bitmap, error) {
	set := roaring.New()
	if _, err := set.ReadFrom(bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("decode bitmap: %w", err)
	}
	if err := set.Validate(); err != nil {
		return nil, fmt.Errorf("decode bitmap: %w", err)
	}
	return set, nil
}

// getBitmap returns the set in a row, which is empty without one.
func getBitmap(r pebble.Reader, key []byte) (*roaring.Bitmap, error) {
	set := roaring.New()
	err := viewRow(r, key, func(b []byte) (err error) {
		set, err = decodeBitmap(b)
		return err
	})
	return set, err
}

// getMembers returns the ordinals of the agents of a rollout: those that it was
// created for, and those that joined. There are none of an unknown rollout.
func getMembers(r pebble.Reader, rolloutID string) (*roaring.Bitmap, error) {
	set, err := getBitmap(r, idKey(keyMembers, rolloutID))
	if err != nil {
		return nil, err
	}
	prefix := joinedPrefix(rolloutID)
	err = scanRows(r, prefix, after(prefix), func(key, _ []byte) (bool, error) {
		set.Add(ordinalOf(key))
		return true, nil
	})
	return set, err
}
