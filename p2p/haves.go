package p2p

import (
	"encoding/binary"
	"time"

	pp "github.com/anacrolix/torrent/peer_protocol"
)

const (
	haveSize = 9 // bytes of a have message with its length
	// haveDelay is how long a have message to an agent waits for company.
	// Every agent tells every other one of every piece, and alone in a TLS record
	// and a packet those nine bytes are a hundred on the wire.
	haveDelay = 100 * time.Millisecond
	// havesHeld bounds what waits, in bytes.
	havesHeld = 64 * haveSize
)

// holdHaves takes p, if it is have messages and nothing else, to be written with
// what comes next or after haveDelay. Nodes hear at once: they plan by it. It
// needs conn.writing.
func (c *conn) holdHaves(p []byte) bool {
	if c.peer.Node || len(c.haves)+len(p) > havesHeld || !onlyHaves(p) {
		return false
	}
	if len(c.haves) == 0 {
		time.AfterFunc(haveDelay, c.writeHaves)
	}
	c.haves = append(c.haves, p...)
	return true
}

// writeHaves writes what waits, if nothing has taken it along.
func (c *conn) writeHaves() {
	c.writing.Lock()
	defer c.writing.Unlock()
	p := c.haves
	c.haves = nil
	if len(p) == 0 {
		return
	}
	if _, err := c.Conn.Write(p); err != nil {
		_ = c.Close() // the library writes to it no more
	}
}

func onlyHaves(p []byte) bool {
	for len(p) >= haveSize && isHave(p) {
		p = p[haveSize:]
	}
	return len(p) == 0
}

// isHave reports whether p, which has a length and a type, begins a have message.
func isHave(p []byte) bool {
	return binary.BigEndian.Uint32(p) == haveSize-prefixSize && pp.MessageType(p[prefixSize]) == pp.Have
}

// appendHave appends a have message.
func appendHave(b []byte, piece int) []byte {
	b = binary.BigEndian.AppendUint32(b, haveSize-prefixSize)
	b = append(b, byte(pp.Have))
	return binary.BigEndian.AppendUint32(b, uint32(piece))
}
