package p2p

import (
	"encoding/binary"

	pp "github.com/anacrolix/torrent/peer_protocol"
)

// inbox holds have messages of a peer back while it is busy with requests.
//
// The library draws up its requests to a peer when none is outstanding, and with
// each piece that it learns of. It then keeps no more outstanding than twice
// what it has just added: one piece heard of in the middle of a window closes the
// window to one block, and a peer that is far away, or has a narrow uplink, takes
// long for each.
type inbox struct {
	left  int64  // bytes of the message that passes, still to come
	head  []byte // the beginning of a message, until it shows what it is
	haves []byte // have messages that wait
	asked int    // request messages that passed, until the caller sets it to 0
}

const (
	prefixSize = 4 // bytes of the length before each message
	// havesKept bounds what waits, in bytes.
	havesKept = 1 << 12
)

// pass appends to out what goes on of p, which a peer sent after its handshake.
// Have messages wait, in their order, as long as busy says so.
func (b *inbox) pass(out, p []byte, busy func() bool) []byte {
	for len(p) > 0 {
		if b.left > 0 {
			n := min(b.left, int64(len(p)))
			out, p, b.left = append(out, p[:n]...), p[n:], b.left-n
			continue
		}
		n := min(b.wants(), len(p))
		b.head, p = append(b.head, p[:n]...), p[n:]
		if b.wants() > 0 {
			continue
		}
		if len(b.head) == haveSize {
			b.haves = append(b.haves, b.head...)
		}
		if len(b.haves) > 0 && (len(b.haves) >= havesKept || !busy()) {
			out, b.haves = append(out, b.haves...), b.haves[:0]
		}
		if len(b.head) != haveSize {
			b.left = prefixSize + int64(binary.BigEndian.Uint32(b.head)) - int64(len(b.head))
			out = append(out, b.head...)
		}
		if len(b.head) > prefixSize && pp.MessageType(b.head[prefixSize]) == pp.Request {
			b.asked++
		}
		b.head = b.head[:0]
	}
	return out
}

// wants is how many bytes are missing to know what a message is: its length, and
// its type if it is no keep-alive, and a have message as a whole.
func (b *inbox) wants() int {
	switch have := len(b.head); {
	case have < prefixSize:
		return prefixSize - have
	case binary.BigEndian.Uint32(b.head) == 0:
		return 0
	case have == prefixSize:
		return 1
	case isHave(b.head):
		return haveSize - have
	default:
		return 0
	}
}
