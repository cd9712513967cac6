// Package process runs the programs that an agent needs: package managers,
// scripts and update modules.
//
// It owns their environment, their time-outs and their end. It must never run
// anything by way of a shell.
package process

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"
)

const (
	// waitDelay is how long output may come after the process has ended.
	waitDelay = 5 * time.Second
	// tailSize is what a Tail keeps unless it says otherwise, in bytes.
	tailSize = 4 << 10
)

// Command is a program to run.
type Command struct {
	Argv    []string
	Dir     string
	Env     []string // besides the basic ones
	Timeout time.Duration
	Out     io.Writer // of standard output
	Err     io.Writer // of standard error; nil for Out as well
	// Started is called once the process runs; what it returns is called when
	// the process has ended.
	Started func() (ended func())
}

// Run runs a program in a process group of its own, which dies as a whole with
// the time-out and, on Linux, the program with this process: nothing goes on
// behind the back of a restarted agent.
func Run(ctx context.Context, c Command) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, c.Out, c.Err
	if c.Err == nil {
		cmd.Stderr = c.Out
	}
	cmd.Env = append(baseEnv(), c.Env...)
	cmd.WaitDelay = waitDelay
	isolate(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	runtime.LockOSThread() // the death signal is tied to the thread that starts the process
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	if c.Started != nil {
		defer c.Started()()
	}
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // a service that it started holds the output open
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s took longer than %s", filepath.Base(c.Argv[0]), c.Timeout)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(c.Argv[0]), err)
	}
	return nil
}

// baseEnv is what every program gets. The agent's own environment may hold a
// registration token, so it is not passed on.
func baseEnv() []string {
	env := []string{"LANG=C.UTF-8", "LC_ALL=C.UTF-8"}
	for _, key := range []string{"PATH", "HOME", "TMPDIR", "TZ", "SystemRoot", "TEMP"} {
		if v, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+v)
		}
	}
	if os.Getenv("PATH") == "" {
		env = append(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	}
	return env
}

// Tail keeps the last bytes that were written to it.
type Tail struct {
	Keep int // how many; 0 for 4 KiB
	mu   sync.Mutex
	b    []byte
}

// Write implements io.Writer.
func (t *Tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - cmp.Or(t.Keep, tailSize); over > 0 {
		t.b = slices.Delete(t.b, 0, over)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

// Reset forgets it.
func (t *Tail) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = nil
}
