package api

import (
	"encoding/json"
	"errors"
	"io"
)

// errMore says that a body goes on after its JSON value.
var errMore = errors.New("it goes on after the JSON value")

// Decode reads exactly one JSON value without unknown fields. What limits the
// reader is the caller's to say.
func Decode(r io.Reader, into any) error {
	dec := json.NewDecoder(r)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errMore
	}
	return nil
}
