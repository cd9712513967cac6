package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
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
		Executable: exe, RebootCommand: a.cfg.RebootCommand, BootIDFile: a.cfg.BootIDFile,
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
// the agent that is current in dataDir. It returns only if that fails.
func Restart(dataDir string, stderr io.Writer) error {
	if err := forgetStarts(dataDir); err != nil {
		return err
	}
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

const (
	// fileStarts counts the starts of a successor since one last polled.
	fileStarts = "starts"
	// maxStarts is how many of them may fail before the machine's own binary
	// runs instead, and takes back an update that never came up.
	maxStarts = 5
)

// countStart notes that a successor is about to start, and reports whether it
// still may.
func countStart(dataDir string) (bool, error) {
	path := filepath.Join(dataDir, fileStarts)
	b, err := durable.ReadFile(path, 16)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("read count of starts: %w", err)
	}
	n, _ := strconv.Atoi(string(b)) // what is not a number was never written by this agent
	if n >= maxStarts {
		return false, nil
	}
	return true, durable.WriteFile(path, strconv.AppendInt(nil, int64(n+1), 10), 0o600)
}

// forgetStarts is called once the agent that runs has polled.
func forgetStarts(dataDir string) error {
	err := os.Remove(filepath.Join(dataDir, fileStarts))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Succeed replaces this process by the agent's binary that an update has made
// current in dataDir. It returns nil if this is the one that should run: because
// nothing has taken its place, or because what has keeps ending before it polls.
func Succeed(dataDir string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own binary: %w", err)
	}
	path, err := install.Successor(filepath.Join(dataDir, "artifacts"), exe)
	if err != nil || path == "" {
		return err
	}
	may, err := countStart(dataDir)
	if err != nil && !isDisk(err) {
		return err
	}
	if err != nil { // a full disk, of which the agent can at least tell
		fmt.Fprintln(os.Stderr, "redflag: starts of the new agent are not counted:", err)
	} else if !may {
		return nil
	}
	if err := os.Setenv(envBase, exe); err != nil {
		return err
	}
	return replaceProcess(path)
}
