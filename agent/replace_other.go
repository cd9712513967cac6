//go:build !unix

package agent

import (
	"fmt"
	"os"
	"os/exec"
)

// replaceProcess runs path as a child, because this system cannot replace a
// process, and ends with its exit code.
func replaceProcess(path string) error {
	cmd := exec.Command(path, os.Args[1:]...) //nolint:noctx // it lives as long as this process
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	if cmd.ProcessState == nil {
		return fmt.Errorf("start %s: %w", path, err)
	}
	os.Exit(cmd.ProcessState.ExitCode())
	return nil
}
