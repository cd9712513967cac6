//go:build linux

package main

import (
	"time"

	"redflag/netlab"
)

// framing is the part of a full Ethernet frame that TCP carries as payload:
// 1448 of 1514 bytes, with timestamps.
const framing = 1448.0 / 1514

// bound is how long it takes at least to bring size bytes from a node to all
// agents, if bytes were a fluid (Kumar and Ross, 2006): the node must send
// each byte once, the slowest agent must receive it, and all copies must leave
// through some uplink. It counts wire bytes: framing makes it unreachable.
func bound(node netlab.Link, agents []netlab.Link, size int64) time.Duration {
	slowest, uplinks := agents[0].Down.BytesPerSecond(), node.Up.BytesPerSecond()
	for _, a := range agents {
		slowest = min(slowest, a.Down.BytesPerSecond())
		uplinks += a.Up.BytesPerSecond()
	}
	f := float64(size)
	seconds := max(f/node.Up.BytesPerSecond(), f/slowest, float64(len(agents))*f/uplinks)
	return time.Duration(seconds * float64(time.Second))
}
