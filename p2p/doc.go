// Package p2p spreads payloads by BitTorrent between machines that know each
// other by certificate. It owns the making of torrents, the piece store, the
// choice and order of pieces, the swarm's connections, and the account of who
// sent what.
//
// It must never decide whether a payload may be installed: it delivers the
// bytes that an info hash names, and nothing more.
//
// The BitTorrent library under it knows peers by IP address: it bans by
// address and connects to an address once. Behind one NAT all machines share
// one. So the library never sees a real address: every identity has a made-up
// one (identity.go), and the dialer turns it back (dialer.go).
package p2p
