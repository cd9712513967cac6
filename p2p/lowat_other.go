//go:build !linux

package p2p

import "net"

// keepShort does nothing where the kernel has no such bound.
func keepShort(net.Conn) {}
