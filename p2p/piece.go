package p2p

import (
	"errors"
	"io"
	"os"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"
)

// piece is how the library reads and writes one piece of a payload.
type piece struct {
	p  *payload
	at metainfo.Piece
}

var _ storage.PieceImpl = (*piece)(nil)

// ReadAt implements io.ReaderAt. The library takes a failed read for a bad
// piece and fetches it again, for ever: so a failure ends the fetch.
//
// A read for a peer may come after the torrent was dropped and its connections
// and its file are closed. v1.61.0 panics if that one fails: it gets zeros, which
// go nowhere. Hashing is over by then, dropping waits for it.
func (c *piece) ReadAt(b []byte, off int64) (int, error) {
	n, err := c.p.data.ReadAt(b, c.at.Offset()+off)
	if errors.Is(err, os.ErrClosed) {
		clear(b)
		return len(b), nil
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed("read payload", err)
	}
	return n, err
}

// WriteAt implements io.WriterAt. Nothing is synced before the piece is whole.
func (c *piece) WriteAt(b []byte, off int64) (int, error) {
	n, err := c.p.data.WriteAt(b, c.at.Offset()+off)
	if err != nil {
		c.failed("write payload", err)
		return n, err
	}
	c.p.watch.pieceBegun(c.at.Index())
	return n, nil
}

// MarkComplete implements storage.PieceImpl.
func (c *piece) MarkComplete() error {
	c.p.watch.pieceVerified(c.at.Index())
	err := c.p.mark(c.at.Index())
	if err != nil {
		c.failed("mark piece", err)
	}
	return err
}

// MarkNotComplete implements storage.PieceImpl.
func (c *piece) MarkNotComplete() error {
	c.p.watch.pieceCorrupt(c.at.Index())
	err := c.p.unmark(c.at.Index())
	if err != nil {
		c.failed("unmark piece", err)
	}
	return err
}

// Completion implements storage.PieceImpl. The state is always known, so the
// library never hashes what is on disk at a start.
func (c *piece) Completion() storage.Completion {
	return storage.Completion{Ok: true, Complete: c.p.has(c.at.Index())}
}

// failed passes on failures of the disk. A closed file is none: connections
// may still hold a part for a torrent that was just dropped.
func (c *piece) failed(op string, err error) {
	if !errors.Is(err, os.ErrClosed) {
		c.p.fail(diskError(op, err))
	}
}
