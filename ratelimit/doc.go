// Package ratelimit holds caps on the wire. It owns token buckets and the
// connection that charges every byte it carries to a chain of them.
//
// It must never know what flows through a connection.
package ratelimit
