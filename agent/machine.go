package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"redflag/api"
	"redflag/durable"
	"redflag/trust"
	"redflag/trust/pki"
)

// machineID is a hash of what the operating system calls this machine, empty
// where it has no name for it. It tells a copied disk from the one that was
// enrolled, and does not give the name away.
func machineID() string {
	for _, path := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		b, err := os.ReadFile(path)
		if id := strings.TrimSpace(string(b)); err == nil && id != "" {
			mac := hmac.New(sha256.New, []byte(id))
			_, _ = mac.Write([]byte("redflag agent"))
			return hex.EncodeToString(mac.Sum(nil))
		}
	}
	return ""
}

// thisMachine is what signed constraints on machines are held against: facts of this
// machine and its own record, nothing that a node says now. A node that could change
// the labels could lead what was signed for one machine to another.
func thisMachine(dataDir string) (api.Machine, error) {
	labels, err := loadLabels(dataDir)
	return api.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Labels: labels}, err
}

// machineFor is thisMachine with the version of an artifact that is installed.
func (e *executor) machineFor(artifact string) (trust.Machine, error) {
	m, err := e.machine()
	if err != nil {
		return trust.Machine{}, err
	}
	out := trust.Machine{OS: m.OS, Arch: m.Arch, Labels: m.Labels}
	if cur, err := e.versions.Current(artifact); err == nil && cur != nil {
		out.Installed = cur.Version
	}
	return out, nil
}

const maxLabelsFile = 64 << 10

func labelsPath(dataDir string) string { return filepath.Join(dataDir, "identity", "labels.json") }

// saveLabels keeps the labels that the machine enrolled with.
func saveLabels(dataDir string, labels map[string]string) error {
	b, err := json.Marshal(labels)
	if err != nil {
		return err
	}
	return durable.WriteFile(labelsPath(dataDir), b, 0o600)
}

// Relabel changes the labels by which this machine judges signed constraints, and
// returns them. The agent need not stop: it reads them anew for each decision.
func Relabel(dataDir string, set map[string]string, remove []string) (map[string]string, error) {
	if _, err := os.Stat(filepath.Join(dataDir, "identity", pki.KeyFile)); err != nil {
		return nil, api.Errorf(api.CodeNotFound, "no agent is enrolled in %s", dataDir).
			WithHint("name the agent's folder with --data-dir; before it is enrolled, pass labels with: redflag agent --label")
	}
	labels, err := loadLabels(dataDir)
	if err != nil {
		return nil, err
	}
	if labels == nil {
		labels = map[string]string{}
	}
	for _, k := range remove {
		delete(labels, k)
	}
	maps.Copy(labels, set)
	if err := api.CheckLabels(labels); err != nil {
		return nil, err
	}
	return labels, saveLabels(dataDir, labels)
}

func loadLabels(dataDir string) (labels map[string]string, err error) {
	b, err := durable.ReadFile(labelsPath(dataDir), maxLabelsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &labels)
	}
	if err != nil {
		return nil, fmt.Errorf("read labels: %w", err)
	}
	return labels, nil
}
