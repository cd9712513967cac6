// Package yield finds the rate at which a background transfer leaves a link to
// whatever else uses it, in the spirit of LEDBAT (RFC 6817): it looks at the
// round trip to a known machine, which grows while queues fill, and at what
// crosses the interface beside the own bytes.
//
// The Controller is pure: it knows neither a clock nor a network. It must never
// stop a transfer: below the floor it does not go.
package yield
