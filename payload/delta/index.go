package delta

import (
	"encoding/binary"
	"math/bits"
)

const (
	// seed is how many bytes must be the same for a place to be found.
	seed = 16
	// ways is how many places are remembered for one hash.
	ways = 4
	// maxIndex bounds the places that an index holds: 4 bytes each.
	maxIndex = 64 << 20
)

// index finds places of the old version by their next bytes.
type index struct {
	old    []byte
	stride int // only every so many-th place is in it
	shift  int
	places []uint32 // in strides, plus one; zero is no place
}

func newIndex(old []byte) *index {
	x := &index{old: old, stride: 1 + len(old)/maxIndex}
	buckets := max(1, len(old)/x.stride/ways)
	log := bits.Len(uint(buckets - 1))
	x.shift = 64 - log
	x.places = make([]uint32, ways<<log)
	last := uint64(0)
	for at := 0; at+seed <= len(old); at += x.stride {
		h := hash(old[at:])
		if h == last { // a run of one byte would push everything else out
			continue
		}
		last = h
		b := x.bucket(h)
		copy(b[1:], b)
		b[0] = uint32(at/x.stride) + 1
	}
	return x
}

func (x *index) bucket(h uint64) []uint32 {
	i := int(h>>x.shift) * ways
	return x.places[i : i+ways : i+ways]
}

// find returns the place whose bytes agree longest with those of b, and for
// how long; zero if it is less than seed.
func (x *index) find(b []byte) (place, length int) {
	if len(b) < seed {
		return 0, 0
	}
	for _, p := range x.bucket(hash(b)) {
		if p == 0 {
			break
		}
		at := int(p-1) * x.stride
		if n := common(x.old[at:], b); n > length && n >= seed {
			place, length = at, n
		}
	}
	return place, length
}

func hash(b []byte) uint64 {
	lo, hi := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	return (lo*0x9E3779B185EBCA87 ^ bits.RotateLeft64(hi*0xC2B2AE3D27D4EB4F, 31)) * 0x9E3779B185EBCA87
}

// common returns how many bytes a and b begin alike with.
func common(a, b []byte) int {
	n := min(len(a), len(b))
	i := 0
	for ; i+8 <= n; i += 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			return i + bits.TrailingZeros64(x)/8
		}
	}
	for i < n && a[i] == b[i] {
		i++
	}
	return i
}
