// Package gossip tells which nodes are alive. It owns the membership list
// (memberlist, the SWIM protocol) and the transport that carries it over
// authenticated streams of the mesh port: no UDP, no port of its own.
//
// What it knows is advisory. It must never remove a Raft voter, and never
// block the protocol on a slow peer.
package gossip
