// Package plan owns the decisions of a swarm that need no I/O: which pieces a
// node offers to whom, which an agent wants first, how much it asks of each
// peer, and how often it asks its tracker. The swarm and its simulation both
// call it.
//
// It must never know a connection, or the BitTorrent library.
package plan
