package delta

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// better is by how many bytes another alignment must agree more than the
// present one before it is worth a step.
const better = 8

// After carefulFor places in vain every second one is looked at, and so on to
// lastStride: what is alike is alike for longer than that.
const (
	carefulFor = 16 << 10
	lastStride = 15
)

// Make writes the patch from old to fresh. level is one of the zstd tool, from
// 1. It takes four bytes of memory for each byte of old, 256 MiB at most.
func Make(dst io.Writer, old, fresh []byte, level int) error {
	head := append([]byte(nil), magic...)
	head = binary.AppendUvarint(head, uint64(len(old)))
	head = binary.AppendUvarint(head, uint64(len(fresh)))
	if _, err := dst.Write(head); err != nil {
		return fmt.Errorf("make patch: %w", err)
	}
	z, err := zstd.NewWriter(dst, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)),
		zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return fmt.Errorf("make patch: %w", err)
	}
	out := bufio.NewWriterSize(z, 256<<10)
	m := &maker{old: old, fresh: fresh, index: newIndex(old), w: &sections{out: out}}
	m.run()
	m.w.flush()
	if err := out.Flush(); err != nil {
		return fmt.Errorf("make patch: %w", err)
	}
	if err := z.Close(); err != nil {
		return fmt.Errorf("make patch: %w", err)
	}
	return nil
}

// maker walks through the new version. It keeps the two versions aligned for
// as long as most bytes agree, after the manner of Percival's "Naive
// differences of executable code" (2003).
type maker struct {
	old, fresh []byte
	index      *index
	w          *sections

	done  int // of the new version; what comes before is written
	place int // in the old version, where done is aligned to
}

func (m *maker) run() {
	at := 0 // in the new version; everything up to here has been looked at
	for at < len(m.fresh) {
		at += common(m.aligned(at), m.fresh[at:])
		next, place, ok := m.realign(at)
		if !ok {
			break
		}
		m.write(next, place)
		at = next
	}
	m.write(len(m.fresh), len(m.old))
}

// aligned is the old version from where at is aligned to.
func (m *maker) aligned(at int) []byte {
	p := m.place + at - m.done
	if p < 0 || p >= len(m.old) {
		return nil
	}
	return m.old[p:]
}

// realign returns the next place from at on where another alignment is better
// than the present one.
func (m *maker) realign(at int) (next, place int, ok bool) {
	missed := 0 // bytes that nothing was found for: it is looked less closely
	for at < len(m.fresh) {
		if n := common(m.aligned(at), m.fresh[at:]); n >= better {
			at += n
			missed = 0
			continue
		}
		place, length := m.index.find(m.fresh[at:])
		if length > 0 && length > agreement(m.aligned(at), m.fresh[at:at+length])+better {
			return at, place, true
		}
		at += 1 + min(missed/carefulFor, lastStride)
		missed++
	}
	return 0, 0, false
}

// agreement counts the bytes of b that a has at the same place.
func agreement(a, b []byte) (n int) {
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			n++
		}
	}
	return n
}

// write writes what lies before next, which is aligned to place from now on:
// as much as agrees with the old alignment, then what is new, up to where the
// new alignment agrees already.
func (m *maker) write(next, place int) {
	ahead := m.reach(next)
	behind := m.reachBack(next, place)
	if over := m.done + ahead - (next - behind); over > 0 {
		split := m.split(next, place, ahead, behind, over)
		ahead, behind = ahead-over+split, behind-split
	}
	m.w.add(m.place, m.old[m.place:m.place+ahead], m.fresh[m.done:m.done+ahead], m.fresh[m.done+ahead:next-behind])
	m.done, m.place = next-behind, place-behind
}

// reach is how far from done the present alignment is worth it: to where the
// bytes that agree outweigh the others most.
func (m *maker) reach(next int) (best int) {
	old := m.aligned(m.done)
	score, top := 0, 0
	for i := 0; i < min(next-m.done, len(old)); i++ {
		if old[i] == m.fresh[m.done+i] {
			score++
		} else {
			score--
		}
		if score > top {
			top, best = score, i+1
		}
	}
	return best
}

// reachBack is how far before next the new alignment is worth it.
func (m *maker) reachBack(next, place int) (best int) {
	if next == len(m.fresh) {
		return 0
	}
	score, top := 0, 0
	for i := 1; i <= min(next-m.done, place); i++ {
		if m.old[place-i] == m.fresh[next-i] {
			score++
		} else {
			score--
		}
		if score > top {
			top, best = score, i
		}
	}
	return best
}

// split says how much of what both alignments reach the old one keeps.
func (m *maker) split(next, place, ahead, behind, over int) (best int) {
	fresh := m.fresh[next-behind:]
	before, after := m.old[m.place+ahead-over:], m.old[place-behind:]
	score, top := 0, 0
	for i := range over {
		if before[i] == fresh[i] {
			score++
		}
		if after[i] == fresh[i] {
			score--
		}
		if score > top {
			top, best = score, i+1
		}
	}
	return best
}

// sections collects steps and writes them in sections.
type sections struct {
	out *bufio.Writer // remembers the first error

	at    int // in the old version, after the last step
	count int
	made  int
	steps []byte
	adds  []byte
	new   []byte
}

// add appends a step: taken at place of the old version becomes wanted, and
// extra follows.
func (s *sections) add(place int, taken, wanted, extra []byte) {
	for len(taken) > 0 || len(extra) > 0 {
		room := maxSection - s.made
		if room == 0 || s.count == maxSteps {
			s.flush()
			continue
		}
		t := min(room, len(taken))
		e := 0
		if t == len(taken) {
			e = min(room-t, len(extra))
		}
		s.steps = binary.AppendVarint(s.steps, int64(place-s.at))
		s.steps = binary.AppendUvarint(s.steps, uint64(t))
		s.steps = binary.AppendUvarint(s.steps, uint64(e))
		for i, b := range wanted[:t] {
			s.adds = append(s.adds, b-taken[i])
		}
		s.new = append(s.new, extra[:e]...)
		s.count++
		s.made += t + e
		place += t
		s.at = place
		taken, wanted, extra = taken[t:], wanted[t:], extra[e:]
	}
}

// flush writes a section, if there is anything to write.
func (s *sections) flush() {
	if s.count == 0 {
		return
	}
	head := binary.AppendUvarint(nil, uint64(s.count))
	for _, part := range [][]byte{head, s.steps, s.adds, s.new} {
		_, _ = s.out.Write(part)
	}
	s.count, s.made = 0, 0
	s.steps, s.adds, s.new = s.steps[:0], s.adds[:0], s.new[:0]
}
