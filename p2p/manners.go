package p2p

import (
	"errors"
	"sync"

	"github.com/anacrolix/torrent"
	"github.com/anacrolix/torrent/bencode"
	pp "github.com/anacrolix/torrent/peer_protocol"
)

// manners refuses messages that the library (v1.61.0) panics on, or answers
// without a bound: any peer could end the process with one. What is refused ends
// the connection that it came by.
type manners struct {
	mu    sync.Mutex // a leaf
	peers map[*torrent.PeerConn]*said
}

// said is what a peer has sent so far.
type said struct {
	told       bool // what it has, all at once (BEP 6: once)
	handshakes int  // extended ones (BEP 10)
	infoAsked  int  // parts of the info dictionary (BEP 9)
}

const (
	// mostHandshakes is how often a peer may change its extensions.
	mostHandshakes = 4
	// infoRepeats is how often a peer may ask for each part of the info dictionary.
	infoRepeats = 3
	// infoPart is the size of such a part, in bytes.
	infoPart = 16 << 10
	// noSuchType is of no message; the library closes the connection.
	noSuchType pp.MessageType = 0xff
)

// meet takes up a connection, before anything is read from it. What comes of one
// that was forgotten is refused: its last message may come after its end.
func (m *manners) meet(c *torrent.PeerConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.peers == nil {
		m.peers = make(map[*torrent.PeerConn]*said)
	}
	m.peers[c] = &said{}
}

func (m *manners) forget(c *torrent.PeerConn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.peers, c)
}

// allow reports whether the library may have a message.
func (m *manners) allow(c *torrent.PeerConn, msg *pp.Message, p *payload) bool {
	switch msg.Type {
	case pp.Hashes, pp.HashRequest, pp.HashReject: // of BEP 52, which is not spoken here
		return false
	case pp.Request, pp.Cancel: // each other length would have a counter for good
		return p.isBlock(msg.Index.Int(), int64(msg.Begin), int64(msg.Length))
	case pp.Piece:
		return p.isBlock(msg.Index.Int(), int64(msg.Begin), int64(len(msg.Piece)))
	case pp.Bitfield, pp.HaveAll, pp.HaveNone:
		m.mu.Lock()
		defer m.mu.Unlock()
		s := m.peers[c]
		if s == nil || s.told {
			return false
		}
		s.told = true
		return true
	default:
		return true
	}
}

// allowExtended does the same for an extension message.
func (m *manners) allowExtended(c *torrent.PeerConn, id pp.ExtensionNumber, payload []byte, infoSize int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.peers[c]
	if s == nil {
		return false
	}
	if id == pp.HandshakeExtendedID {
		s.handshakes++
		return s.handshakes <= mostHandshakes
	}
	var d pp.ExtendedMetadataRequestMsg
	if err := bencode.Unmarshal(payload, &d); err != nil && !errors.As(err, new(bencode.ErrUnusedTrailingBytes)) {
		return false
	}
	parts := (infoSize + infoPart - 1) / infoPart
	if d.Piece < 0 || d.Piece >= parts {
		return false
	}
	if d.Type == pp.RequestMetadataExtensionMsgType {
		s.infoAsked++
	}
	return s.infoAsked <= infoRepeats*parts
}

// isBlock reports whether a peer may send these bytes of a piece: one block.
func (p *payload) isBlock(piece int, begin, length int64) bool {
	if piece < 0 || piece >= p.pieces || begin < 0 || begin%blockSize != 0 {
		return false
	}
	left := min(p.pieceLength, p.length-int64(piece)*p.pieceLength) - begin
	return left > 0 && length == min(blockSize, left)
}
