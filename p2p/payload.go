package p2p

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

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

	syncing sync.Mutex // held while data is synced; taken before mu
	// unsynced is why a sync failed. The next one would succeed and mean nothing:
	// the system may have dropped what it could not write. It needs syncing.
	unsynced error

	mu      sync.Mutex
	info    []byte    // nil until it is known
	have    []byte    // bit i is bit 7-i%8 of byte i/8, as in BEP 3
	kept    []byte    // the same, of the pieces whose data is synced
	fresh   []int     // pieces that are verified and not kept yet
	synced  time.Time // when data was last synced
	missing int       // pieces that are not verified
	whole   sync.Once // closes complete
	cause   error     // why broken is closed
}

// A sync takes the disk's time, and wears out cheap flash: verified pieces are
// kept together. What a loss of power takes is fetched again; a process that
// dies takes nothing, see recover.
const (
	syncBytes = 8 << 20
	syncTime  = time.Second
)

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
		kept:        make([]byte, (n+7)/8),
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

// storedBits returns the bits on disk. Bits that do not fit the payload, and all
// bits of data that is not there, count for nothing: it returns nil.
func (p *payload) storedBits() ([]byte, error) {
	st, err := os.Stat(filepath.Join(p.dir, fileData))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, diskError("find payload", err)
	}
	usable := err == nil && st.Size() == p.length
	b, err := durable.ReadFile(filepath.Join(p.dir, filePieces), int64(len(p.have)))
	if err != nil || len(b) != len(p.have) || !usable {
		return nil, nil //nolint:nilerr // they are written anew
	}
	if rest := p.pieces % 8; rest != 0 {
		b[len(b)-1] &= 0xff << (8 - rest)
	}
	return b, nil
}

// readBits loads the bits, or writes new ones.
func (p *payload) readBits() error {
	b, err := p.storedBits()
	if err != nil {
		return err
	}
	if b == nil {
		return p.writeBits()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.have, p.kept = b, slices.Clone(b)
	for _, x := range b {
		p.missing -= bits.OnesCount8(x)
	}
	return nil
}

// doubt takes back every bit.
func (p *payload) doubt() error {
	p.mu.Lock()
	clear(p.have)
	clear(p.kept)
	p.missing = p.pieces
	p.mu.Unlock()
	return p.writeBits()
}

// writeBits replaces the file of bits.
func (p *payload) writeBits() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return diskError("write piece bits", durable.WriteFile(filepath.Join(p.dir, filePieces), p.kept, 0o600))
}

// fill sets every bit in memory.
func (p *payload) fill() {
	for i := range p.pieces {
		p.have[i/8] |= bit(i)
		p.kept[i/8] |= bit(i)
	}
}

func bit(i int) byte { return 0x80 >> (i % 8) }

func (p *payload) has(i int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.have[i/8]&bit(i) != 0
}

// mark records that piece i is verified, and keeps what is verified now and
// then, and at the end.
func (p *payload) mark(i int) error {
	p.mu.Lock()
	if p.have[i/8]&bit(i) == 0 {
		p.have[i/8] |= bit(i)
		p.missing--
		p.fresh = append(p.fresh, i)
	}
	due := p.missing == 0 || int64(len(p.fresh))*p.pieceLength >= syncBytes || time.Since(p.synced) >= syncTime
	p.mu.Unlock()
	if !due {
		return nil
	}
	return p.keep()
}

// keep puts what is verified on disk: the data first, then the bits. A bit
// without data cannot happen.
func (p *payload) keep() error {
	p.syncing.Lock()
	defer p.syncing.Unlock()
	p.mu.Lock()
	fresh := len(p.fresh)
	p.mu.Unlock()
	if fresh == 0 {
		return nil
	}
	if p.unsynced == nil {
		p.unsynced = diskError("sync payload", p.data.Sync())
	}
	if p.unsynced != nil {
		return p.unsynced
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced = time.Now()
	for _, i := range p.fresh[:fresh] {
		p.kept[i/8] |= bit(i)
	}
	if err := p.writeKept(); err != nil {
		return err
	}
	p.fresh = slices.Delete(p.fresh, 0, fresh)
	if p.missing == 0 && len(p.fresh) == 0 {
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
	if p.allKept() {
		p.whole.Do(func() { close(p.complete) })
	}
}

// allKept needs mu.
func (p *payload) allKept() bool { return p.missing == 0 && len(p.fresh) == 0 }

// unmark records that piece i is not, or no longer, good.
func (p *payload) unmark(i int) error {
	p.syncing.Lock()
	defer p.syncing.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.have[i/8]&bit(i) == 0 {
		return nil
	}
	p.have[i/8] &^= bit(i)
	p.missing++
	p.fresh = slices.DeleteFunc(p.fresh, func(f int) bool { return f == i })
	p.kept[i/8] &^= bit(i)
	return p.writeKept()
}

// writeKept needs mu. A part of it may be written and another not: each bit
// stands for itself.
func (p *payload) writeKept() error {
	f, err := os.OpenFile(filepath.Join(p.dir, filePieces), os.O_WRONLY, 0)
	if err != nil {
		return diskError("open piece bits", err)
	}
	defer f.Close()
	_, err = f.WriteAt(p.kept, 0)
	return diskError("write piece bits", err)
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
	return p.allKept()
}

// done returns how many bytes are verified.
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
		_ = p.keep() // what fails is recovered
		_ = p.data.Close()
	}
}
