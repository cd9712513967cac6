package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	"redflag/api"
	"redflag/consensus"
)

// Recover makes the stopped node of a data directory the only voter of its
// cluster, with everything that it holds: for a cluster whose majority is gone
// for good.
func Recover(dataDir string) (Runtime, error) {
	var here Runtime
	b, err := os.ReadFile(filepath.Join(dataDir, "runtime.json"))
	if err == nil {
		err = json.Unmarshal(b, &here)
	}
	if err != nil {
		return here, fmt.Errorf("%s is no node's data directory: %w", dataDir, err)
	}
	lock := flock.New(filepath.Join(dataDir, "lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return here, errors.Join(api.Errorf(api.CodeConflict, "a node runs on %s", dataDir).WithHint("stop it first"), err)
	}
	defer lock.Unlock() //nolint:errcheck // the process ends and the lock with it
	return here, consensus.Recover(consensus.Config{NodeID: here.ID, Addr: here.Mesh, Dir: filepath.Join(dataDir, "cluster")})
}
