//go:build linux

package netlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Command returns a command that runs on the host.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.NS, name}, args...)...)
}

// Do runs f on the host: the sockets that f makes, on the goroutine that it is
// called on, are the host's.
func (h *Host) Do(f func() error) error { return within(h.NS, f) }

func within(name string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			done <- err
			return
		}
		defer home.Close()
		done <- func() error {
			ns, err := os.Open("/run/netns/" + name)
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter %s: %w", name, err)
			}
			return f()
		}()
		// The thread lives on: its end would be that of the processes which it
		// started with a parent-death signal. One that cannot go home must end.
		if unix.Setns(int(home.Fd()), unix.CLONE_NEWNET) == nil {
			runtime.UnlockOSThread()
		}
	}()
	return <-done
}

// Counters returns the bytes that crossed the host's interface, frames with
// their Ethernet headers.
func (h *Host) Counters() (received, sent int64, err error) { return counters(h.NS, "eth0") }

// Counters returns the bytes that crossed the cable to the switch's parent.
func (s *Switch) Counters() (received, sent int64, err error) {
	return counters(s.lab.name, s.name+"u")
}

// prompt is within what a counter is read so that its time is known, and
// promptTries how often that is tried on a machine with other things to do.
const (
	prompt      = 2 * time.Millisecond
	promptTries = 50
)

// Dated reads counters and the time that they are of: a rate from a count whose
// reader was held up before it looked at the clock would be wrong.
func Dated(counters func() (received, sent int64, err error)) (at time.Time, received, sent int64, err error) {
	for range promptTries {
		at = time.Now()
		if received, sent, err = counters(); err != nil || time.Since(at) < prompt {
			break
		}
	}
	return at, received, sent, err
}

// counters reads the kernel's own table, which costs no process: callers
// sample it many times a second.
func counters(ns, dev string) (received, sent int64, err error) {
	err = within(ns, func() error {
		table, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(table)) {
			name, counts, _ := strings.Cut(line, ":")
			if strings.TrimSpace(name) != dev {
				continue
			}
			fields := strings.Fields(counts)
			if len(fields) < 9 {
				break
			}
			var errs [2]error
			received, errs[0] = strconv.ParseInt(fields[0], 10, 64)
			sent, errs[1] = strconv.ParseInt(fields[8], 10, 64)
			return errors.Join(errs[:]...)
		}
		return errors.New("no such interface")
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read counters of %s in %s: %w", dev, ns, err)
	}
	return received, sent, nil
}
