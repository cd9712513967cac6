package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"redflag/agent/install"
	"redflag/api"
	"redflag/durable"
)

const (
	// fileProve holds the poll that a new binary makes to show that it can.
	fileProve  = "prove.json"
	maxProve   = 4 << 20
	proveWait  = time.Minute
	proveTail  = 2 << 10
	keepBefore = 2
)

// host says what installers may ask of this machine.
func (a *Agent) host(id string, p *poller) (install.Host, error) {
	exe := a.cfg.Executable
	if exe == "" {
		var err error
		if exe, err = os.Executable(); err != nil {
			return install.Host{}, fmt.Errorf("find own binary: %w", err)
		}
	}
	return install.Host{
		AgentID:    id,
		DeviceType: install.DeviceType(a.cfg.Labels, runtime.GOOS+"-"+runtime.GOARCH),
		ModulesDir: a.cfg.ModulesDir,
		Executable: exe,
		Polled: func(ctx context.Context) error {
			select {
			case <-p.polled:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
		Prove: func(ctx context.Context, path string) error { return a.prove(ctx, path, p) },
	}, nil
}

// prove runs another binary as this agent for one poll.
func (a *Agent) prove(ctx context.Context, path string, p *poller) error {
	req, _, err := p.request()
	if err != nil {
		return err
	}
	req.Reports = nil // this process hands them in
	b, err := json.Marshal(req)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(filepath.Join(a.cfg.DataDir, fileProve), b, 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, proveWait)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "agent", "prove", "--data-dir", a.cfg.DataDir)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out[max(0, len(out)-proveTail):])
	}
	return nil
}

// Prove makes the one poll that a running agent has prepared for its
// successor, and returns nil if a node answers it. It takes no lock and
// changes nothing: the running agent goes on.
func Prove(ctx context.Context, cfg Config) error {
	a, err := New(cfg)
	if err != nil {
		return err
	}
	b, err := durable.ReadFile(filepath.Join(cfg.DataDir, fileProve), maxProve)
	if err != nil {
		return fmt.Errorf("read prepared poll: %w", err)
	}
	var req api.PollRequest
	if err := json.Unmarshal(b, &req); err != nil {
		return fmt.Errorf("decode prepared poll: %w", err)
	}
	req.AgentVersion = cfg.Version
	creds, err := a.enrolled()
	if err != nil {
		return err
	}
	known, err := loadLearnt(a.learntPath())
	if err != nil {
		return err
	}
	id := creds.Identity()
	m := a.newMesh(creds, newNodeList(id.Region, cfg.Nodes, known.Nodes))
	defer m.close()
	var resp api.PollResponse
	p := &poller{id: id.ID, mesh: m}
	return p.exchange(api.WithCorrelation(ctx, ""), &req, &resp)
}

// Restart replaces this process by the machine's own binary, which starts
// the agent that is current. It returns only if that fails.
func Restart(stderr io.Writer) error {
	path, err := basePath()
	if err != nil {
		return err
	}
	fmt.Fprintf(stderr, "agent restarts as %s\n", path)
	return replaceProcess(path)
}

// envBase names the binary that the machine's service starts.
const envBase = "REDFLAG_BASE_BINARY"

func basePath() (string, error) {
	if p := os.Getenv(envBase); p != "" {
		return p, nil
	}
	return os.Executable()
}

// Succeed replaces this process by the agent's binary that an update has made
// current in dataDir. It returns nil if this is the one that should run.
func Succeed(dataDir string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	path, err := install.Successor(filepath.Join(dataDir, "artifacts"), exe)
	if err != nil || path == "" {
		return err
	}
	if err := os.Setenv(envBase, exe); err != nil {
		return err
	}
	return replaceProcess(path)
}
