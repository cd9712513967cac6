package install

import (
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
	// stepTimeout bounds one script, tool or module call, unless the payload
	// says otherwise.
	stepTimeout = 10 * time.Minute
	// waitDelay is how long output may come after the process has ended.
	waitDelay = 5 * time.Second
	// tailSize bounds what is kept of the output, in bytes.
	tailSize = 4 << 10
)

// command is a program to run.
type command struct {
	argv    []string
	dir     string
	env     []string // besides the basic ones
	timeout time.Duration
	out     io.Writer
	// started is called once the process runs; what it returns is called when
	// the process has ended.
	started func() (ended func())
}

// run runs a program in a process group of its own, which dies as a whole with
// the time-out and, on Linux, the program with this process: nothing goes on
// behind the back of a restarted agent.
func run(ctx context.Context, c command) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, c.out, c.out
	cmd.Env = append(baseEnv(), c.env...)
	cmd.WaitDelay = waitDelay
	isolate(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	runtime.LockOSThread() // the death signal is tied to the thread that starts the process
	defer runtime.UnlockOSThread()
	if err := cmd.Start(); err != nil {
		return err
	}
	if c.started != nil {
		defer c.started()()
	}
	err := cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // a service that it started holds the output open
	}
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s took longer than %s", filepath.Base(c.argv[0]), c.timeout)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(c.argv[0]), err)
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

// tail keeps the last bytes that were written to it.
type tail struct {
	mu sync.Mutex
	b  []byte
}

// Write implements io.Writer.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if over := len(t.b) - tailSize; over > 0 {
		t.b = slices.Delete(t.b, 0, over)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

func (t *tail) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = nil
}

func (j *Job) timeout() time.Duration {
	if d := j.how().StepTimeout; d > 0 {
		return time.Duration(d)
	}
	return stepTimeout
}
