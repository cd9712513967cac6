package trust

import (
	"errors"
	"fmt"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// What can be wrong with metadata, a target or a payload. Every error of this
// package that blames what was received wraps exactly one of them.
var (
	// ErrSignature says that too few of the keys trusted for it signed a file.
	ErrSignature = errors.New("not signed by the trusted keys")
	// ErrRollback says that a file is older than one seen before, or is not the
	// version that newer metadata names.
	ErrRollback = errors.New("older than what was already seen")
	// ErrExpired says that a file's validity has ended: its signer must renew it.
	ErrExpired = errors.New("validity has ended")
	// ErrUnknownTarget says that the operator has signed no such target.
	ErrUnknownTarget = errors.New("no such target was signed")
	// ErrLength says that there are more or fewer bytes than were signed for,
	// or more than the limit of a metadata file.
	ErrLength = errors.New("wrong length")
	// ErrHash says that the bytes are not those that were signed for.
	ErrHash = errors.New("wrong hash")
	// ErrMalformed says that a file or field cannot be what it claims to be.
	ErrMalformed = errors.New("malformed")
	// ErrUnavailable says that a file could not be fetched. Another node, or
	// the same one later, may have it.
	ErrUnavailable = errors.New("not available")
)

// errStore marks a failure of this machine's disk; it blames nobody else.
var errStore = errors.New("store trusted metadata")

var sentinels = []error{
	ErrSignature, ErrRollback, ErrExpired, ErrUnknownTarget, ErrLength,
	ErrHash, ErrMalformed, ErrUnavailable, errStore,
}

// classify gives an error of go-tuf the sentinel it stands for, or otherwise.
func classify(err, otherwise error) error {
	if err == nil {
		return nil
	}
	for _, s := range sentinels {
		if errors.Is(err, s) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", sentinelOf(err, otherwise), err)
}

// sentinelOf goes from go-tuf's narrow error types to the wide ones: each also
// matches the wider ones below it.
func sentinelOf(err, otherwise error) error {
	switch {
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		return ErrSignature
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return ErrExpired
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		return ErrHash
	case errors.Is(err, &metadata.ErrBadVersionNumber{}):
		return ErrRollback
	case errors.Is(err, &metadata.ErrRepository{}):
		// What is left in this class once a file is well-formed is a snapshot
		// that no longer lists a file it used to list.
		return ErrRollback
	default:
		return otherwise
	}
}

// guarded turns a panic of f into ErrMalformed. go-tuf 2.4.2 dereferences nil
// for some JSON nulls (a null target, while it parses) before any signature is
// checked; hostile bytes must not stop the process.
func guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrMalformed, p)
		}
	}()
	return f()
}
