package ratelimit

const (
	// segmentPayload is what a full TCP segment carries on Ethernet, with the
	// time stamps that all systems use.
	segmentPayload = 1448
	// segmentHeaders is what goes with it: Ethernet, IPv4 and TCP headers.
	segmentHeaders = 14 + 20 + 32
	// ackEvery is how many segments a receiver acknowledges at once.
	ackEvery = 2
)

// onWire returns the bytes that n bytes of a stream take on the wire, when
// they leave in one go.
func onWire(n int) int {
	if n <= 0 {
		return 0
	}
	return n + segments(n)*segmentHeaders
}

// acksFor returns the bytes that acknowledge n bytes, in the other direction.
func acksFor(n int) int { return segments(n) / ackEvery * segmentHeaders }

func segments(n int) int { return (n + segmentPayload - 1) / segmentPayload }
