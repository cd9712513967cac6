package agent

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"

	"redflag/api"
	"redflag/p2p"
	"redflag/payload/archive"
	"redflag/payload/delta"
	"redflag/payload/pack"
	"redflag/trust"
)

// maxMessage bounds the message of a failure, in bytes: it is replicated.
const maxMessage = 1024

// classOf names the class of an error. A full disk is a full disk whatever
// met it, so that comes first; what nothing else explains is the install's.
func classOf(err error) api.ErrorClass {
	if isDisk(err) {
		return api.ErrorDisk
	}
	if class := api.ClassOf(err); class != "" {
		return class
	}
	if errors.Is(err, trust.ErrUnavailable) {
		return api.ErrorNetwork
	}
	for _, refusal := range []error{
		trust.ErrSignature, trust.ErrRollback, trust.ErrExpired, trust.ErrUnknownTarget,
		trust.ErrLength, trust.ErrHash, trust.ErrMalformed, trust.ErrWrongMachine, p2p.ErrInfoMismatch, archive.ErrUnsafe, archive.ErrTooLarge, archive.ErrFormat,
		pack.ErrFormat, pack.ErrLength, delta.ErrFormat, delta.ErrVersions,
	} {
		if errors.Is(err, refusal) {
			return api.ErrorVerify
		}
	}
	return api.ErrorInstall
}

func isDisk(err error) bool {
	for _, e := range []error{p2p.ErrDisk, syscall.ENOSPC, syscall.EROFS, syscall.EDQUOT} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// diskHint says what to do about a disk; empty for what is none's fault.
func diskHint(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "; free disk on the machine, then: redflag commands retry (what was fetched is kept)"
	case errors.Is(err, syscall.EROFS):
		return "; the disk is mounted read-only: mount it writable, then: redflag commands retry (what was fetched is kept)"
	case errors.Is(err, p2p.ErrDisk) && errors.Is(err, fs.ErrNotExist):
		return "; the agent's data directory has lost files: look after its disk, then: redflag commands retry"
	case errors.Is(err, p2p.ErrDisk):
		return "; look after the disk, then: redflag commands retry (what was fetched is kept)"
	default:
		return ""
	}
}

// lags reports whether a node that is merely behind the others could have
// caused err: it has not seen the newest metadata yet.
func lags(err error) bool {
	return errors.Is(err, trust.ErrRollback) || errors.Is(err, trust.ErrUnknownTarget)
}

// failureOf is what a report says of err.
func failureOf(err error) *api.Failure {
	hint := diskHint(err)
	msg := err.Error()
	if most := maxMessage - len(hint); len(msg) > most {
		msg = msg[:most]
	}
	msg += hint
	return &api.Failure{Class: classOf(err), Message: strings.ToValidUTF8(msg, "")}
}
