//go:build !unix

package system

func lockHeld(string) (held, ok bool) { return false, false }
