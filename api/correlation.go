package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
)

// HeaderTraceparent carries the correlation id (W3C Trace Context, level 1).
const HeaderTraceparent = "Traceparent"

type correlationKey struct{}

// NewCorrelationID draws a W3C trace id: 16 random bytes in lower-case hex.
func NewCorrelationID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // crypto/rand never fails; it aborts the program
	return hex.EncodeToString(b[:])
}

// ValidCorrelationID reports whether s is a W3C trace id.
func ValidCorrelationID(s string) bool {
	if len(s) != 32 {
		return false
	}
	zero := true
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
		zero = zero && c == '0'
	}
	return !zero
}

// WithCorrelation returns a context whose requests and log lines carry id. An
// invalid id is replaced by a new one.
func WithCorrelation(ctx context.Context, id string) context.Context {
	if !ValidCorrelationID(id) {
		id = NewCorrelationID()
	}
	return context.WithValue(ctx, correlationKey{}, id)
}

// Correlation returns the correlation id of ctx, or "".
func Correlation(ctx context.Context) string {
	id, _ := ctx.Value(correlationKey{}).(string)
	return id
}

// SetTraceparent writes the correlation id of ctx into h, if there is one.
func SetTraceparent(ctx context.Context, h http.Header) {
	id := Correlation(ctx)
	if id == "" {
		return
	}
	var span [8]byte
	_, _ = rand.Read(span[:])
	h.Set(HeaderTraceparent, "00-"+id+"-"+hex.EncodeToString(span[:])+"-01")
}

// CorrelationFromHeader returns the trace id of a well-formed traceparent, or "".
func CorrelationFromHeader(h http.Header) string {
	v := h.Get(HeaderTraceparent)
	if len(v) < 55 || v[2] != '-' || v[35] != '-' {
		return ""
	}
	if id := v[3:35]; ValidCorrelationID(id) {
		return id
	}
	return ""
}
