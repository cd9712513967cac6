// Package installtest is a machine in a folder, and payloads for every kind of
// installer.
//
// It owns what installers touch on such a machine. It must never know how they
// work: it is used by the tests of the engine and of the agent alike.
package installtest

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Box is a machine in a folder.
type Box struct{ Dir string }

// Path returns a path on the machine.
func (b Box) Path(elem ...string) string {
	return filepath.Join(append([]string{b.Dir}, elem...)...)
}

// DpkgArgs make dpkg work on the private root, without waiting for the disk.
func (b Box) DpkgArgs() []string {
	return []string{"--root=" + b.Path("root"), "--force-not-root", "--force-bad-path", "--force-unsafe-io"}
}

// Bundle packs files into a tar.
func Bundle(tb testing.TB, files map[string]string) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for name, content := range files {
		require.NoError(tb, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}))
		_, err := io.WriteString(w, content)
		require.NoError(tb, err)
	}
	require.NoError(tb, w.Close())
	return b.Bytes()
}

// Deb builds a package of one file that holds its version.
func Deb(tb testing.TB, version string) []byte {
	tb.Helper()
	dir := tb.TempDir()
	write := func(name, content string) {
		path := filepath.Join(dir, "pkg", name)
		require.NoError(tb, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(tb, os.WriteFile(path, []byte(content), 0o644))
	}
	write("DEBIAN/control", "Package: redflag-probe\nVersion: "+version+"\nArchitecture: all\nMaintainer: nobody <nobody@example.invalid>\nDescription: a probe\n")
	write("usr/share/redflag-probe/version", version)
	out := filepath.Join(dir, "out.deb")
	said, err := exec.CommandContext(tb.Context(), "dpkg-deb", "--root-owner-group", "--build", filepath.Join(dir, "pkg"), out).CombinedOutput()
	require.NoError(tb, err, string(said))
	b, err := os.ReadFile(out)
	require.NoError(tb, err)
	return b
}

// NeedDpkg makes the private root that dpkg works on, below root.
func (b Box) NeedDpkg(tb testing.TB) {
	tb.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		tb.Skip("dpkg is not on this machine")
	}
	if os.Getuid() != 0 {
		tb.Skip("dpkg with a root of its own needs root")
	}
	for _, dir := range []string{"root/var/lib/dpkg/info", "root/var/lib/dpkg/updates", "root/var/log"} {
		require.NoError(tb, os.MkdirAll(b.Path(dir), 0o755))
	}
	require.NoError(tb, os.WriteFile(b.Path("root/var/lib/dpkg/status"), nil, 0o644))
}

// DpkgVersion is what dpkg's database and the file on disk say; they must agree.
func (b Box) DpkgVersion(tb testing.TB) string {
	tb.Helper()
	out, err := exec.CommandContext(tb.Context(), "dpkg-query", "--root="+b.Path("root"), "--show", "--showformat=${db:Status-Status} ${Version}", "redflag-probe").Output()
	if err != nil {
		return "none"
	}
	file, err := os.ReadFile(b.Path("root/usr/share/redflag-probe/version"))
	status, version, _ := strings.Cut(string(out), " ")
	if err != nil || status != "installed" || string(file) != version {
		return "between: " + string(out) + " with " + string(file)
	}
	return version
}

// FilesModule is a module by the conventions of others: it takes files/, and
// puts them into the file live of the box.
const FilesModule = `#!/bin/sh
set -e
STATE="$1"
FILES="$2"
dest="$FILES/../../../live"
case "$STATE" in
  NeedsArtifactReboot) echo "No" ;;
  SupportsRollback) echo "Yes" ;;
  ArtifactInstall)
    test "$(cat version)" = 3
    if test -f "$dest" && ! test -f "$FILES/tmp/backup"; then cp "$dest" "$FILES/tmp/backup.new"; mv "$FILES/tmp/backup.new" "$FILES/tmp/backup"; fi
    : > "$dest"
    cat "$FILES"/files/* > "$dest"
    ;;
  ArtifactRollback)
    if test -f "$FILES/tmp/backup"; then cp "$FILES/tmp/backup" "$dest.new"; mv "$dest.new" "$dest"; fi
    ;;
esac
exit 0
`

// Scripts is a bundle whose install is not atomic: it writes the file live.
func Scripts(tb testing.TB, version string) []byte {
	tb.Helper()
	return Bundle(tb, map[string]string{
		"pre":      "#!/bin/sh\nset -e\ntest -n \"$REDFLAG_VERSION\"\n",
		"install":  "#!/bin/sh\nset -e\n: > \"$REDFLAG_STATE_DIR/../../../live\"\nprintf %s " + version + " > \"$REDFLAG_STATE_DIR/../../../live\"\n",
		"verify":   "#!/bin/sh\ntest \"$(cat \"$REDFLAG_STATE_DIR/../../../live\")\" = " + version + "\n",
		"commit":   "#!/bin/sh\nexit 0\n",
		"rollback": "#!/bin/sh\nset -e\nprintf %s \"$REDFLAG_PREVIOUS\" > \"$REDFLAG_STATE_DIR/../../../live.new\"\nmv \"$REDFLAG_STATE_DIR/../../../live.new\" \"$REDFLAG_STATE_DIR/../../../live\"\n",
	})
}

// Module puts an update module into the folder modules.
func (b Box) Module(tb testing.TB, name, script string) {
	tb.Helper()
	require.NoError(tb, os.MkdirAll(b.Path("modules"), 0o755))
	require.NoError(tb, os.WriteFile(b.Path("modules", name), []byte(script), 0o755))
}
