package main

import "syscall"

// childAttributes ties a child's life to the demo's, and keeps the terminal's
// Ctrl-C from it: the demo stops its children in its own order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
