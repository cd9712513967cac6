package consensus

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fxamacker/cbor/v2"

	"redflag/consensus/state"
)

// A snapshot file is a magic word, the length of a header, the header in CBOR,
// the state's own stream, and the SHA-256 of all of that.
const (
	snapshotFileMagic = "RFSNAP01"
	snapshotPrefix    = len(snapshotFileMagic) + 4
	maxSnapshotHeader = 4 << 10

	// MaxSnapshotFile bounds a snapshot file, in bytes.
	MaxSnapshotFile = 64 << 30
)

// ErrNoSnapshot says that a file is not a whole, undamaged snapshot.
var ErrNoSnapshot = errors.New("not a whole snapshot")

// SnapshotHeader says where a snapshot file comes from.
type SnapshotHeader struct {
	ClusterID string    `cbor:"1,keyasint" json:"cluster_id"`
	NodeID    string    `cbor:"2,keyasint" json:"node"` // that wrote it
	Index     uint64    `cbor:"3,keyasint" json:"index"`
	Term      uint64    `cbor:"4,keyasint" json:"term"` // in which it was written
	WrittenAt time.Time `cbor:"5,keyasint" json:"written_at"`
	Size      int64     `cbor:"6,keyasint" json:"state_size"` // of the state's stream
}

// SnapshotWriter is a snapshot of the state that is about to be written to a
// file or to a connection. Close it soon: it pins old files.
type SnapshotWriter struct {
	head  []byte // magic, length and header
	size  int64
	state *state.Snapshot
}

// NewSnapshot takes a snapshot of this node's state as it is now.
func (c *Cluster) NewSnapshot() (*SnapshotWriter, error) {
	taken, err := c.State().Snapshot()
	if err != nil {
		return nil, err
	}
	w, err := newSnapshotWriter(taken, SnapshotHeader{NodeID: c.cfg.NodeID, Term: c.raft.CurrentTerm(), WrittenAt: c.cfg.Now().UTC()}, c.State())
	if err != nil {
		return nil, errors.Join(err, taken.Close())
	}
	return w, nil
}

func newSnapshotWriter(taken *state.Snapshot, h SnapshotHeader, m *state.Machine) (*SnapshotWriter, error) {
	cluster, _ := m.Cluster() // its id never changes
	h.ClusterID, h.Index = cluster.ID, taken.Index()
	var err error
	if h.Size, err = taken.Size(); err != nil {
		return nil, fmt.Errorf("measure snapshot: %w", err)
	}
	encoded, err := cbor.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encode snapshot header: %w", err)
	}
	head := binary.BigEndian.AppendUint32([]byte(snapshotFileMagic), uint32(len(encoded)))
	head = append(head, encoded...)
	return &SnapshotWriter{head: head, size: int64(len(head)) + h.Size + sha256.Size, state: taken}, nil
}

// Size returns how many bytes Write is going to write.
func (w *SnapshotWriter) Size() int64 { return w.size }

// Close releases what the snapshot pins.
func (w *SnapshotWriter) Close() error { return w.state.Close() }

// Write writes the file that OpenSnapshot reads.
func (w *SnapshotWriter) Write(to io.Writer) error {
	sum := sha256.New()
	both := io.MultiWriter(to, sum)
	if _, err := both.Write(w.head); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	if err := w.state.Write(both); err != nil {
		return err
	}
	if _, err := to.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// SnapshotFile is a snapshot file whose every byte was checked.
type SnapshotFile struct {
	Header SnapshotHeader
	Info   state.SnapshotInfo
	Size   int64  // of the file
	SHA256 []byte // of the file without its own last 32 bytes

	from io.ReaderAt
	at   int64 // where the state's stream begins
}

// OpenSnapshot checks a snapshot file from its first to its last byte, with
// progress as it reads (nil for none). What is damaged, cut short or of another
// kind is ErrNoSnapshot.
func OpenSnapshot(from io.ReaderAt, size int64, progress func(done, total int64)) (*SnapshotFile, error) {
	f := &SnapshotFile{Size: size, from: from}
	err := f.readHeader()
	if err == nil {
		err = f.checkSum(progress)
	}
	if err == nil {
		f.Info, err = state.InspectSnapshot(f.State())
	}
	if err == nil && (f.Info.Index != f.Header.Index || f.Info.ClusterID != f.Header.ClusterID) {
		err = errors.New("its header is that of another state")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSnapshot, err)
	}
	return f, nil
}

// State returns the state's stream, which Restore reads.
func (f *SnapshotFile) State() io.Reader {
	return io.NewSectionReader(f.from, f.at, f.Header.Size)
}

func (f *SnapshotFile) readHeader() error {
	if f.Size > MaxSnapshotFile {
		return fmt.Errorf("a file of %d bytes is larger than any snapshot", f.Size)
	}
	prefix := make([]byte, snapshotPrefix)
	if _, err := f.from.ReadAt(prefix, 0); err != nil {
		return fmt.Errorf("read its beginning: %w", err)
	}
	if !bytes.HasPrefix(prefix, []byte(snapshotFileMagic)) {
		return errors.New("it does not begin like one")
	}
	size := binary.BigEndian.Uint32(prefix[len(snapshotFileMagic):])
	if size > maxSnapshotHeader {
		return fmt.Errorf("a header of %d bytes", size)
	}
	header := make([]byte, size)
	if _, err := f.from.ReadAt(header, int64(len(prefix))); err != nil {
		return fmt.Errorf("read its header: %w", err)
	}
	if err := cbor.Unmarshal(header, &f.Header); err != nil {
		return fmt.Errorf("read its header: %w", err)
	}
	f.at = int64(len(prefix) + len(header))
	if want := f.at + f.Header.Size + sha256.Size; f.Header.Size < 0 || want != f.Size {
		return fmt.Errorf("it has %d bytes and should have %d", f.Size, want)
	}
	return nil
}

// checkSum compares the hash at the end with what comes before it.
func (f *SnapshotFile) checkSum(progress func(done, total int64)) error {
	want := make([]byte, sha256.Size)
	end := f.Size - sha256.Size
	if _, err := f.from.ReadAt(want, end); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read its checksum: %w", err)
	}
	sum := sha256.New()
	in := bufio.NewReaderSize(io.NewSectionReader(f.from, 0, end), 256<<10)
	for done := int64(0); done < end; {
		n, err := io.CopyN(sum, in, min(1<<20, end-done))
		if err != nil {
			return fmt.Errorf("read it: %w", err)
		}
		if done += n; progress != nil {
			progress(done, end)
		}
	}
	if f.SHA256 = sum.Sum(nil); !bytes.Equal(f.SHA256, want) {
		return errors.New("its checksum does not match: it is damaged")
	}
	return nil
}
