//go:build unix

package process

import (
	"os"
	"syscall"
)

// killGroup ends a process and all that it started.
func killGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }
