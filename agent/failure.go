package agent

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"redflag/api"
	"redflag/p2p"
	"redflag/payload/archive"
	"redflag/trust"
)

// maxMessage bounds the message of a failure, in bytes: it is replicated.
const maxMessage = 1024

// classError is an error whose class is known where it arises.
type classError struct {
	class api.ErrorClass
	err   error
}

func (e *classError) Error() string { return e.err.Error() }
func (e *classError) Unwrap() error { return e.err }

// Class names the class; other packages' errors have this method too.
func (e *classError) Class() api.ErrorClass { return e.class }

// failf makes an error of a class.
func failf(class api.ErrorClass, format string, args ...any) error {
	return &classError{class, fmt.Errorf(format, args...)}
}

// classOf names the class of an error. A full disk is a full disk whatever
// met it, so that comes first; what nothing else explains is the install's.
func classOf(err error) api.ErrorClass {
	if isDisk(err) {
		return api.ErrorDisk
	}
	var known interface{ Class() api.ErrorClass }
	if errors.As(err, &known) {
		return known.Class()
	}
	if errors.Is(err, trust.ErrUnavailable) {
		return api.ErrorNetwork
	}
	for _, refusal := range []error{
		trust.ErrSignature, trust.ErrRollback, trust.ErrExpired, trust.ErrUnknownTarget,
		trust.ErrLength, trust.ErrHash, trust.ErrMalformed, trust.ErrWrongMachine, p2p.ErrInfoMismatch, archive.ErrUnsafe, archive.ErrTooLarge, archive.ErrFormat,
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

// lags reports whether a node that is merely behind the others could have
// caused err: it has not seen the newest metadata yet.
func lags(err error) bool {
	return errors.Is(err, trust.ErrRollback) || errors.Is(err, trust.ErrUnknownTarget)
}

// failureOf is what a report says of err.
func failureOf(err error) *api.Failure {
	msg := err.Error()
	if len(msg) > maxMessage {
		msg = msg[:maxMessage]
	}
	return &api.Failure{Class: classOf(err), Message: strings.ToValidUTF8(msg, "")}
}
