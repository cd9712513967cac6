package p2p

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"

	"redflag/durable"
)

// The files of a payload, in a folder named by its info hash.
const (
	fileData   = "data"   // the payload itself, sparse until complete
	fileInfo   = "info"   // the bencoded info dictionary
	filePieces = "pieces" // one bit per piece: verified and on disk
	// Beside them stands fileStamp, once the payload is whole.
)

// store keeps payloads in folders. It serves the library as its storage. Its
// lock is a leaf; the library calls in with its own lock held.
type store struct {
	root    string
	badInfo func(metainfo.Hash) // a peer sent a false info dictionary

	mu       sync.Mutex
	payloads map[metainfo.Hash]*payload
}

var _ storage.ClientImplCloser = (*store)(nil)

func openStore(root string, badInfo func(metainfo.Hash)) (*store, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, diskError("open piece store", err)
	}
	return &store{root: root, badInfo: badInfo, payloads: make(map[metainfo.Hash]*payload)}, nil
}

func (s *store) dir(h metainfo.Hash) string { return filepath.Join(s.root, h.HexString()) }

func (s *store) get(h metainfo.Hash) *payload {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.payloads[h]
}

func (s *store) put(h metainfo.Hash, p *payload) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.payloads[h] = p
}

// forget closes the files of a payload and leaves them on disk.
func (s *store) forget(h metainfo.Hash) {
	s.mu.Lock()
	p := s.payloads[h]
	delete(s.payloads, h)
	s.mu.Unlock()
	if p != nil {
		p.close()
	}
}

// complete opens the payloads that are whole on disk, and lists besides those
// that say so and have no stamp that fits.
func (s *store) complete() (whole, doubtful []metainfo.Hash, err error) {
	dirs, err := os.ReadDir(s.root)
	if err != nil {
		return nil, nil, diskError("list piece store", err)
	}
	for _, d := range dirs {
		h, err := parseHash(d.Name())
		if err != nil || !d.IsDir() {
			continue
		}
		switch _, err := s.load(h); {
		case err == nil:
			whole = append(whole, h)
		case errors.Is(err, errUnstamped):
			doubtful = append(doubtful, h)
		}
	}
	return whole, doubtful, nil
}

// load opens a payload that is whole on disk, to read.
func (s *store) load(h metainfo.Hash) (*payload, error) {
	info, err := readInfo(s.dir(h), h)
	if err != nil {
		return nil, err
	}
	p := newPayload(s.dir(h), info.length, info.pieceLength)
	p.info = info.encode()
	if err := p.readBits(); err != nil {
		return nil, err
	}
	if !p.isComplete() {
		return nil, ErrNotComplete
	}
	if !p.stamped() {
		return nil, errUnstamped
	}
	p.announceWhole()
	if p.data, err = os.Open(filepath.Join(p.dir, fileData)); err != nil {
		return nil, diskError("open payload", err)
	}
	s.put(h, p)
	return p, nil
}

// prepare opens a payload to fetch it, or what an earlier fetch left of it.
func (s *store) prepare(h metainfo.Hash, length, pieceLength int64) (*payload, error) {
	dir := s.dir(h)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, diskError("make payload folder", err)
	}
	p := newPayload(dir, length, pieceLength)
	info, err := readInfo(dir, h)
	switch {
	case err == nil && (info.length != length || info.pieceLength != pieceLength):
		return nil, fmt.Errorf("%w: the info dictionary on disk says %d bytes in pieces of %d", ErrInfoMismatch, info.length, info.pieceLength)
	case err == nil:
		p.info = info.encode()
		err = p.readBits()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ErrInvalid):
		err = p.writeBits() // without an info dictionary nothing was verified
	}
	if err == nil && p.isComplete() && !p.stamped() {
		err = p.doubt()
	}
	if err == nil {
		err = p.create()
	}
	if err == nil && p.info != nil {
		err = p.recover(info.hashes)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	p.announceWhole()
	s.put(h, p)
	return p, nil
}

// adopt takes a whole file into the store by renaming it.
func (s *store) adopt(h metainfo.Hash, t Torrent, path string) (*payload, error) {
	dir := s.dir(h)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, diskError("make payload folder", err)
	}
	p := newPayload(dir, t.Length, t.PieceLength)
	p.fill()
	// The bits and the stamp come last: a crash in between leaves a payload that
	// is fetched, imported or hashed again.
	steps := []func() error{
		func() error { return syncFile(path) },
		func() error { return removeIfExists(filepath.Join(dir, filePieces)) },
		func() error { return removeIfExists(filepath.Join(dir, fileStamp)) },
		func() error { return os.Rename(path, filepath.Join(dir, fileData)) },
		func() error { return p.setInfo(t.Info) },
		p.writeBits,
		p.stamp,
		func() error { return syncFile(s.root) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, diskError("import payload", err)
		}
	}
	return s.load(h)
}

// remove deletes a payload from disk, its bits first.
func (s *store) remove(h metainfo.Hash) error {
	s.forget(h)
	if err := removeIfExists(filepath.Join(s.dir(h), filePieces)); err != nil {
		return diskError("remove payload", err)
	}
	if err := os.RemoveAll(s.dir(h)); err != nil {
		return diskError("remove payload", err)
	}
	return nil
}

// OpenTorrent implements storage.ClientImpl. The library calls it as soon as
// it has an info dictionary, from disk or from peers. v1.61.0 does not check
// that the dictionary has the info hash; that happens here.
func (s *store) OpenTorrent(_ context.Context, info *metainfo.Info, h metainfo.Hash) (storage.TorrentImpl, error) {
	p := s.get(h)
	if p == nil {
		return storage.TorrentImpl{}, errNotKnown
	}
	l, err := layoutOf(info)
	if err != nil || metainfo.HashBytes(l.encode()) != h {
		s.badInfo(h)
		return storage.TorrentImpl{}, errBadInfo
	}
	if err := p.accept(l); err != nil {
		p.fail(err)
		return storage.TorrentImpl{}, err
	}
	return storage.TorrentImpl{
		Piece: func(at metainfo.Piece) storage.PieceImpl { return &piece{p, at} },
		Close: func() error { return nil }, // forget closes the files
	}, nil
}

// Close implements storage.ClientImplCloser.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for h, p := range s.payloads {
		p.close()
		delete(s.payloads, h)
	}
	return nil
}

func readInfo(dir string, h metainfo.Hash) (layout, error) {
	b, err := durable.ReadFile(filepath.Join(dir, fileInfo), maxInfo)
	if err != nil {
		return layout{}, diskError("read info dictionary", err)
	}
	if metainfo.HashBytes(b) != h {
		return layout{}, fmt.Errorf("%w: %w", ErrInvalid, errBadInfo)
	}
	return parseInfo(b)
}
