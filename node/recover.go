package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"redflag/consensus"
)

// Recover makes the stopped node of a data directory the only voter of its
// cluster, with everything that it holds: for a cluster whose majority is gone
// for good.
func Recover(dataDir string) (Runtime, error) {
	here, err := readRuntime(dataDir)
	if err != nil {
		return here, fmt.Errorf("%s is no node's data directory: %w", dataDir, err)
	}
	lock, err := lockStopped(dataDir)
	if err != nil {
		return here, err
	}
	defer lock.Unlock() //nolint:errcheck // the process ends and the lock with it
	return here, consensus.Recover(consensus.Config{NodeID: here.ID, Addr: here.Mesh, Dir: filepath.Join(dataDir, "cluster")})
}

// readRuntime returns where a node ran last.
func readRuntime(dataDir string) (here Runtime, err error) {
	b, err := os.ReadFile(filepath.Join(dataDir, "runtime.json"))
	if err == nil {
		err = json.Unmarshal(b, &here)
	}
	return here, err
}
