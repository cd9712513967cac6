package p2p

import "errors"

var (
	// ErrDisk means that the piece store could not be read or written. The
	// cause, such as ENOSPC, is wrapped beside it.
	ErrDisk = errors.New("piece store failed")
	// ErrInfoMismatch means that the info dictionary behind an info hash, or
	// what is on disk for it, has another length or piece length than asked for.
	ErrInfoMismatch = errors.New("torrent does not have the expected dimensions")
	// ErrInvalid means that a torrent, an info hash or a length makes no sense.
	ErrInvalid = errors.New("invalid torrent")
	// ErrNotComplete means that the payload is not, or not wholly, in the store.
	ErrNotComplete = errors.New("payload is not complete")
	// ErrBusy means that the same payload is being fetched.
	ErrBusy = errors.New("payload is being fetched")
	// ErrClosed means that the swarm was closed, or the payload removed.
	ErrClosed = errors.New("swarm is closed")
)

// What can be wrong with a connection; these end up in the log only.
var (
	errNotPeer   = errors.New("connection is not TLS over a limited connection")
	errNotServed = errors.New("peer fetches elsewhere")
	errSelf      = errors.New("connection to myself")
	errRefused   = errors.New("peer is refused for a while")
	errWrongID   = errors.New("peer speaks under another identity than its certificate's")
	errDeaf      = errors.New("peer asks and takes no answer")
	errUnknown   = errors.New("no peer is known by this address")
	errBadInfo   = errors.New("info dictionary does not have the info hash")
	errNotKnown  = errors.New("torrent is not in the store")
)
