package main

import "math/bits"

// pieces is a set of piece numbers.
type pieces []uint64

func newPieces(n int) pieces { return make(pieces, (n+63)/64) }

func (p pieces) add(i int32)    { p[i>>6] |= 1 << (i & 63) }
func (p pieces) remove(i int32) { p[i>>6] &^= 1 << (i & 63) }

// wanted reports whether of has a piece that held has not.
func wanted(of, held pieces) bool {
	for w, b := range of {
		if b&^held[w] != 0 {
			return true
		}
	}
	return false
}

// draw returns such a piece, at random from start on, -1 if there is none.
func draw(of, held pieces, start int32) int32 {
	w, shift := int(start>>6), int(start&63)
	for range len(of) + 1 {
		if b := of[w] &^ held[w]; b != 0 {
			return int32(w<<6 + (bits.TrailingZeros64(bits.RotateLeft64(b, -shift))+shift)&63)
		}
		shift = 0
		if w++; w == len(of) {
			w = 0
		}
	}
	return -1
}
