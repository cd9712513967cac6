// Package plain gives payloads to standard BitTorrent clients, which have no
// certificate: a seed that speaks the peer protocol (BEP 3) and an HTTP tracker
// (BEP 3, BEP 7, BEP 23), both on one listener and without TLS.
//
// It only reads: it knows payloads by an interface that cannot write, and its
// peers are in no table but its own. So nothing that a plain peer says or sends
// reaches the swarm of package p2p, nor the agents in it. It must never fetch
// from a peer, and never name one of p2p's.
package plain
