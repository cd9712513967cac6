//go:build !unix

package install

import (
	"errors"
	"os"
	"os/exec"
)

func isolate(*exec.Cmd) {}

// killGroup ends a process. What it started lives on: there are no groups.
func killGroup(p *os.Process) error { return p.Kill() }

var errNoReader = errors.New("pipes with names need a Unix")

func mkfifo(string) error { return errors.ErrUnsupported }

func openFIFO(string) (*os.File, error) { return nil, errors.ErrUnsupported }
