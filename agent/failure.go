package agent

import (
	"errors"
	"strings"
	"syscall"

	"redflag/api"
	"redflag/p2p"
	"redflag/payload/archive"
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
