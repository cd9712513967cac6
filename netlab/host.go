//go:build linux

package netlab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Command returns a command that runs on the host.
func (h *Host) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.NS, name}, args...)...)
}

// Do runs f on the host: the sockets that f makes, on the goroutine that it is
// called on, are the host's.
func (h *Host) Do(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlock: the thread ends with the goroutine
		done <- func() error {
			ns, err := os.Open("/run/netns/" + h.NS)
			if err != nil {
				return err
			}
			defer ns.Close()
			if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter %s: %w", h.NS, err)
			}
			return f()
		}()
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

func counters(ns, dev string) (received, sent int64, err error) {
	out, err := exec.Command("ip", "-n", ns, "-s", "-j", "link", "show", dev).Output() //nolint:noctx // it ends at once
	if err != nil {
		return 0, 0, fmt.Errorf("read counters of %s: %w", ns, err)
	}
	var links []struct {
		Stats struct {
			RX, TX struct{ Bytes int64 }
		} `json:"stats64"`
	}
	if err := json.Unmarshal(out, &links); err != nil || len(links) != 1 {
		return 0, 0, fmt.Errorf("read counters of %s: %w", ns, err)
	}
	return links[0].Stats.RX.Bytes, links[0].Stats.TX.Bytes, nil
}
