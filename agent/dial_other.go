//go:build !linux

package agent

import "syscall"

// watchful leaves it to the request's own time limit to find a node out that
// was cut off.
func watchful(_, _ string, _ syscall.RawConn) error { return nil }
