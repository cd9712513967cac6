package plain

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

const (
	greeting = "\x13BitTorrent protocol"
	// greetingSize is that of a handshake: the protocol's name, 8 reserved
	// bytes, the info hash and the peer id.
	greetingSize = len(greeting) + 8 + 20 + 20
	// maxMessage bounds a message of a peer, in bytes: the longest that has a
	// meaning is a bitfield of 65536 pieces.
	maxMessage = 16 << 10
	// maxBlock bounds a request, in bytes. Clients ask for 16 KiB.
	maxBlock = 128 << 10
)

// The kinds of message that matter to a seed (BEP 3).
const (
	kindUnchoke  = 1
	kindBitfield = 5
	kindRequest  = 6
	kindPiece    = 7
	kindCancel   = 8
)

var errProtocol = errors.New("not the protocol of BEP 3")

// block is a part of a piece.
type block struct{ index, begin, length uint32 }

// readGreeting reads a handshake and returns its info hash in hex.
func readGreeting(r io.Reader) (infoHash string, err error) {
	var b [greetingSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return "", err
	}
	if string(b[:len(greeting)]) != greeting {
		return "", errProtocol
	}
	at := len(greeting) + 8
	return hex.EncodeToString(b[at : at+20]), nil
}

// readMessage reads messages until one is about a block that the peer wants,
// or no longer wants. It passes over those that say nothing to a seed.
func readMessage(r *bufio.Reader) (b block, wanted bool, err error) {
	for {
		var size [4]byte
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return b, false, err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n == 0 {
			continue // keep-alive
		}
		if n > maxMessage {
			return b, false, fmt.Errorf("%w: a message of %d bytes", errProtocol, n)
		}
		kind, err := r.ReadByte()
		if err != nil {
			return b, false, err
		}
		if kind != kindRequest && kind != kindCancel {
			if _, err := r.Discard(int(n) - 1); err != nil {
				return b, false, err
			}
			continue
		}
		var body [12]byte
		if int(n) != 1+len(body) {
			return b, false, fmt.Errorf("%w: a request of %d bytes", errProtocol, n)
		}
		if _, err := io.ReadFull(r, body[:]); err != nil {
			return b, false, err
		}
		b = block{binary.BigEndian.Uint32(body[:]), binary.BigEndian.Uint32(body[4:]), binary.BigEndian.Uint32(body[8:])}
		return b, kind == kindRequest, nil
	}
}

// within returns where a block begins in a payload, or an error if it is no
// part of it.
func (b block) within(length, pieceLength int64) (offset int64, err error) {
	offset = int64(b.index)*pieceLength + int64(b.begin)
	if b.length == 0 || b.length > maxBlock || int64(b.begin)+int64(b.length) > pieceLength || offset+int64(b.length) > length {
		return 0, fmt.Errorf("%w: block %+v is no part of the payload", errProtocol, b)
	}
	return offset, nil
}

// opening is what a seed says first: who it is, that it has everything, and
// that it may be asked. It never chokes: the caps and the gate are the bound.
func opening(infoHash string, peerID [20]byte, pieces int64) ([]byte, error) {
	hash, err := hex.DecodeString(infoHash)
	if err != nil {
		return nil, err
	}
	b := append([]byte(greeting), make([]byte, 8)...)
	b = append(b, hash...)
	b = append(b, peerID[:]...)
	field := make([]byte, (pieces+7)/8)
	for i := range pieces {
		field[i/8] |= 0x80 >> (i % 8)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(1+len(field)))
	b = append(append(b, kindBitfield), field...)
	b = binary.BigEndian.AppendUint32(b, 1)
	return append(b, kindUnchoke), nil
}
