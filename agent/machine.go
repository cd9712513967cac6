package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"redflag/durable"
	"redflag/trust"
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

// machine is what a signed target's constraints are held against: facts of this
// machine and its own record, nothing that a node says now.
func (e *executor) machine(artifact string) trust.Machine {
	m := trust.Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Labels: e.labels}
	if cur, err := e.versions.Current(artifact); err == nil && cur != nil {
		m.Installed = cur.Version
	}
	return m
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
