package p2p

import (
	"crypto/sha256"
	"net/netip"
)

// Peer is who takes part in a swarm. It is bound to a certificate: Identify of
// Config reads it from one.
type Peer struct {
	ID     string
	Region string
	Node   bool
	// Site is the local network that the peer is in, as its tracker sees it;
	// empty if that is not known. No certificate vouches for it.
	Site string
	// Near says that this side is in the same site.
	Near bool
}

// swarmPort stands in every made-up address; the library insists on one.
const swarmPort = 1

// address is the made-up address of an identity: fd00::/8 (RFC 4193) and 120
// bits of the SHA-256 of the peer's ID. It is all that the library sees.
type address struct{ at netip.AddrPort }

func addressOf(peerID string) address {
	sum := sha256.Sum256([]byte("redflag swarm address\x00" + peerID))
	var ip [16]byte
	ip[0] = 0xfd
	copy(ip[1:], sum[:])
	return address{netip.AddrPortFrom(netip.AddrFrom16(ip), swarmPort)}
}

// Network implements net.Addr.
func (address) Network() string { return "tcp6" }

// String implements net.Addr.
func (a address) String() string { return a.at.String() }

// clientID is the BitTorrent peer id of an identity. Deriving it binds the
// handshake to the certificate: nobody can pass for another peer and have that
// one's connection dropped as a duplicate.
func clientID(peerID string) [20]byte {
	sum := sha256.Sum256([]byte("redflag swarm client\x00" + peerID))
	var id [20]byte
	copy(id[copy(id[:], clientPrefix):], sum[:])
	return id
}

// clientPrefix names the client in the manner of BEP 20.
const clientPrefix = "-RF0001-"
