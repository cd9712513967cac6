package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"redflag/node"
)

// process is one node or agent of the demo, with a folder and a log file.
type process struct {
	id, region string
	dir        string
	exe        string
	args       []string
	env        []string
	logPath    string
	runtime    node.Runtime // nodes only

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// processError says that a process ended that should not have.
type processError struct {
	id, log string
	err     error
}

func (e processError) Error() string {
	return fmt.Sprintf("%s ended: %v (its log: %s)", e.id, e.err, e.log)
}

func (d *demo) newProcess(id, region string, args ...string) *process {
	p := &process{
		id: id, region: region, exe: d.exe,
		dir: filepath.Join(d.dir, id), logPath: filepath.Join(d.dir, id+".log"),
	}
	p.args = append(args, "--data-dir", p.dir)
	if d.debug {
		p.args = append(p.args, "--debug")
	}
	return p
}

// cleanEnv is this process's environment without settings that are meant for
// another cluster.
func cleanEnv() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "REDFLAG_") })
}

func (p *process) start() error {
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cmd = exec.Command(p.exe, p.args...) //nolint:noctx // it ends by interrupt or kill, as the demo says
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = childAttributes()
	p.cmd.Env = append(cleanEnv(), p.env...)
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.id, err)
	}
	cmd, done := p.cmd, make(chan struct{})
	p.done = done
	go func() {
		err := cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// exited returns a processError once the process has ended by itself.
func (p *process) exited() error {
	select {
	case <-p.done:
		p.mu.Lock()
		defer p.mu.Unlock()
		return processError{p.id, p.logPath, p.err}
	default:
		return nil
	}
}

func (p *process) interrupt() { _ = p.cmd.Process.Signal(os.Interrupt) }

// kill ends the process as a power cut would: it gets no word in.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// wait gives the process time to end, then kills it.
func (p *process) wait(limit time.Duration) {
	select {
	case <-p.done:
	case <-time.After(limit):
		p.kill()
	}
}
