//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"redflag/p2p"
)

// message is a line that a machine writes.
type message struct {
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	Stats p2p.Stats `json:"stats"`
	Error string    `json:"error,omitempty"`
}

// process is one running machine.
type process struct {
	spec spec
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
}

func launch(cmd *exec.Cmd, s spec) (*process, error) {
	p := &process{spec: s, cmd: cmd}
	var err error
	if p.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stderr
	p.out = bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if _, err := p.hear("ready"); err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

func (p *process) tell(word string) error {
	_, err := fmt.Fprintln(p.in, word)
	return err
}

// hear waits for an event of the machine.
func (p *process) hear(event string) (message, error) {
	for p.out.Scan() {
		var m message
		if err := json.Unmarshal(p.out.Bytes(), &m); err != nil {
			return m, fmt.Errorf("%s: %w", p.spec.ID, err)
		}
		if m.Error != "" {
			return m, fmt.Errorf("%s: %s", p.spec.ID, m.Error)
		}
		if m.Event == event {
			return m, nil
		}
	}
	return message{}, fmt.Errorf("%s ended before it was %s", p.spec.ID, event)
}

func (p *process) kill() {
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// cpuOf returns the CPU time that processes have used so far.
func cpuOf(ps []*process) (time.Duration, error) {
	var ticks int64
	for _, p := range ps {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		for _, at := range []int{11, 12} { // utime, stime
			n, err := strconv.ParseInt(fields[at], 10, 64)
			if err != nil {
				return 0, err
			}
			ticks += n
		}
	}
	return time.Duration(ticks) * time.Second / 100, nil
}

// peak returns the largest resident set that the process had, in bytes.
func (p *process) peak() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}
