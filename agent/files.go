package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"redflag/api"
)

// errLocked says that another process holds the data directory.
var errLocked = errors.New("locked by another process")

// lockDir takes the data directory for this process. The lock ends with the
// returned file, and with the process however it dies.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		defer f.Close()
		if errors.Is(err, errLocked) {
			return nil, api.Errorf(api.CodeConflict, "another agent runs on %s", dir).
				WithHint("stop it, or give this one its own --data-dir")
		}
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	return f, nil
}
