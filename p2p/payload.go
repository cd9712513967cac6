package p2p

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"sync"

	"redflag/durable"
)

// payload is one folder of the store: the data, and which pieces of it are
// verified and on disk. It is safe for concurrent use.
type payload struct {
	dir         string
	length      int64
	pieceLength int64
	pieces      int

	// watch is told what becomes of pieces; set before the library may call.
	watch pieceWatcher
	// complete is closed when every piece is on disk, broken when the disk
	// failed or the info dictionary is another than expected.
	complete, broken chan struct{}

	data *os.File

	mu      sync.Mutex
	info    []byte // nil until it is known
	have    []byte // bit i is bit 7-i%8 of byte i/8, as in BEP 3
	missing int
	whole   sync.Once // closes complete
	cause   error     // why broken is closed
}

// pieceWatcher hears about pieces, on whatever goroutine hashed them.
type pieceWatcher interface {
	pieceBegun(index int)
	pieceVerified(index int)
	pieceCorrupt(index int)
}

func newPayload(dir string, length, pieceLength int64) *payload {
	n := countPieces(length, pieceLength)
	return &payload{
		dir:         dir,
		length:      length,
		pieceLength: pieceLength,
		pieces:      n,
		have:        make([]byte, (n+7)/8),
		missing:     n,
		complete:    make(chan struct{}),
		broken:      make(chan struct{}),
	}
}

// create opens the data file to write, with its final length and no blocks.
func (p *payload) create() error {
	f, err := os.OpenFile(filepath.Join(p.dir, fileData), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return diskError("open payload", err)
	}
	p.data = f
	if st, err := f.Stat(); err == nil && st.Size() == p.length {
		return nil // to set the same size would touch the file
	}
	if err := f.Truncate(p.length); err != nil {
		return diskError("size payload", err)
	}
	return diskError("sync payload folder", syncFile(p.dir))
}

// accept takes the info dictionary that the library read.
func (p *payload) accept(l layout) error {
	if l.length != p.length || l.pieceLength != p.pieceLength {
		return fmt.Errorf("%w: peers say %d bytes in pieces of %d, expected %d in pieces of %d",
			ErrInfoMismatch, l.length, l.pieceLength, p.length, p.pieceLength)
	}
	if p.infoBytes() != nil {
		return nil
	}
	return p.setInfo(l.encode())
}

func (p *payload) setInfo(b []byte) error {
	if err := durable.WriteFile(filepath.Join(p.dir, fileInfo), b, 0o600); err != nil {
		return diskError("write info dictionary", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.info = b
	return nil
}

func (p *payload) infoBytes() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.info
}

// readBits loads the bits. Bits that do not fit the payload, and all bits of
// data that is not there, count for nothing: they are written anew.
func (p *payload) readBits() error {
	st, err := os.Stat(filepath.Join(p.dir, fileData))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return diskError("find payload", err)
	}
	usable := err == nil && st.Size() == p.length
	b, err := durable.ReadFile(filepath.Join(p.dir, filePieces), int64(len(p.have)))
	if err != nil || len(b) != len(p.have) || !usable {
		return p.writeBits()
	}
	if rest := p.pieces % 8; rest != 0 {
		b[len(b)-1] &= 0xff << (8 - rest)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have = b
	for _, x := range b {
		p.missing -= bits.OnesCount8(x)
	}
	return nil
}

// doubt takes back every bit.
func (p *payload) doubt() error {
	p.mu.Lock()
	clear(p.have)
	p.missing = p.pieces
	p.mu.Unlock()
	return p.writeBits()
}

// writeBits replaces the file of bits.
func (p *payload) writeBits() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return diskError("write piece bits", durable.WriteFile(filepath.Join(p.dir, filePieces), p.have, 0o600))
}

// fill sets every bit in memory.
func (p *payload) fill() {
	for i := range p.pieces {
		p.have[i/8] |= bit(i)
	}
}

func bit(i int) byte { return 0x80 >> (i % 8) }

func (p *payload) has(i int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have[i/8]&bit(i) != 0
}

// mark records that piece i is verified: its data first, then its bit. A bit
// that power loss takes costs one piece; a bit without data cannot happen.
func (p *payload) mark(i int) error {
	if err := p.data.Sync(); err != nil {
		return diskError("sync payload", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have[i/8]&bit(i) != 0 {
		return nil
	}
	if err := p.writeByte(i/8, p.have[i/8]|bit(i)); err != nil {
		return err
	}
	p.missing--
	if p.missing == 0 {
		if err := p.stamp(); err != nil {
			return err
		}
	}
	p.notice()
	return nil
}

// announceWhole is notice for a payload that was just read from disk.
func (p *payload) announceWhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notice()
}

// notice tells those who wait that the payload is whole, if it is. It needs mu.
func (p *payload) notice() {
	if p.missing == 0 {
		p.whole.Do(func() { close(p.complete) })
	}
}

// unmark records that piece i is not, or no longer, good.
func (p *payload) unmark(i int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have[i/8]&bit(i) == 0 {
		return nil
	}
	if err := p.writeByte(i/8, p.have[i/8]&^bit(i)); err != nil {
		return err
	}
	p.missing++
	return nil
}

// writeByte needs mu. One byte lies in one sector: it is written or it is not.
func (p *payload) writeByte(at int, b byte) error {
	f, err := os.OpenFile(filepath.Join(p.dir, filePieces), os.O_WRONLY, 0)
	if err != nil {
		return diskError("open piece bits", err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte{b}, int64(at)); err != nil {
		return diskError("write piece bits", err)
	}
	p.have[at] = b
	return nil
}

// fail ends whatever waits for the payload. The first cause stays.
func (p *payload) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil {
		p.cause = err
		close(p.broken)
	}
}

func (p *payload) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

func (p *payload) isComplete() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.missing == 0
}

// done returns how many bytes are verified and on disk.
func (p *payload) done() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := int64(p.pieces-p.missing) * p.pieceLength
	if last := p.pieces - 1; p.have[last/8]&bit(last) != 0 {
		n -= int64(p.pieces)*p.pieceLength - p.length
	}
	return n
}

func (p *payload) close() {
	if p.data != nil {
		_ = p.data.Close()
	}
}
