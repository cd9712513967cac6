package p2p

import (
	"net"
	"net/netip"
)

// SiteOf names the local network of an address: its /24 or its /64. The name
// is empty for what is no IP address, and for loopback, which is no network.
func SiteOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || ip.IsLoopback() {
		return ""
	}
	ip = ip.Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 24
	}
	site, err := ip.Prefix(bits)
	if err != nil {
		return ""
	}
	return site.String()
}

// sameSite reports whether both ends of a connection are in one local network.
func sameSite(a, b net.Addr) bool {
	site := SiteOf(a.String())
	return site != "" && site == SiteOf(b.String())
}
