package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestUnitsVerify has systemd read the units. The binary is another one: the
// units name one that only an installed package brings.
func TestUnitsVerify(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not on this machine")
	}
	for _, name := range []string{AgentUnit, NodeUnit} {
		unit, err := Unit(name, "/bin/true")
		require.NoError(t, err)
		require.NotContains(t, unit, packagedBinary)
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(unit), 0o644))
		if name == AgentUnit {
			drop, err := Unit(AgentSystem, "/bin/true")
			require.NoError(t, err)
			require.NoError(t, os.Mkdir(path+".d", 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(path+".d", "system.conf"), []byte(drop), 0o644))
		}
		said, err := exec.Command("systemd-analyze", "verify", path).CombinedOutput()
		require.NoError(t, err, string(said))
		require.Empty(t, string(said))
	}
}
