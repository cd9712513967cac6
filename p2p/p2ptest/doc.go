// Package p2ptest runs real swarms on loopback for tests: a certificate
// authority, a tracker in memory, and machines that meet over mutual TLS.
//
// It must never be imported by anything but tests.
package p2ptest
