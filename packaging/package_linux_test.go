package packaging

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// built returns the newest package of a format that make package has built.
func built(t *testing.T, format string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join("..", "dist", "*."+format))
	require.NoError(t, err)
	newest := ""
	for _, f := range found {
		if newest == "" || modified(t, f) > modified(t, newest) {
			newest = f
		}
	}
	if newest == "" {
		t.Skip("there is no ." + format + "; run: make package")
	}
	newest, err = filepath.Abs(newest)
	require.NoError(t, err)
	return newest
}

func modified(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.ModTime().UnixNano()
}

// onThisSystem runs a script as root of this very system, in a mount namespace
// of its own where every change goes to a folder that is thrown away. It prints
// the script's output, and what was left of its changes.
const onThisSystem = `
set -e
mkdir "$1/changes"
mount -t tmpfs none "$1/changes"
cd "$1/changes"
mkdir up work system
mount -t overlay none -o lowerdir=/,upperdir=up,workdir=work system
mount -t proc none system/proc
mount --rbind /dev system/dev
mount -t tmpfs none system/run
mount --bind "$2" system/mnt
chroot system sh -e -c "$3"
echo --- left
cd up
find . -mindepth 1 ! -type d | sort
`

// TestPackageInstallsAndLeaves installs the real package with the real dpkg,
// has systemd read its units with the binary in its place, upgrades and removes
// it: nothing is left but the state of the agent.
func TestPackageInstallsAndLeaves(t *testing.T) {
	deb := built(t, "deb")
	if os.Getuid() != 0 {
		t.Skip("dpkg needs root")
	}
	for _, tool := range []string{"dpkg", "unshare", "systemd-analyze"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not on this machine")
		}
	}
	script := `
dpkg --install /mnt/` + filepath.Base(deb) + ` >/dev/null
/usr/bin/redflag version
test "$(dpkg-query --show --showformat='${db:Status-Status}' redflag)" = installed
mkdir -p /etc/systemd/system/redflag-agent.service.d
for drop in none system; do
  test $drop = none || cp /usr/share/doc/redflag/redflag-agent-system.conf /etc/systemd/system/redflag-agent.service.d/
  said="$(systemd-analyze verify redflag-agent.service redflag-node.service 2>&1)"
  echo "$said" | grep redflag && exit 1
done
rm -r /etc/systemd/system/redflag-agent.service.d
echo units verified
mkdir -p /var/lib/redflag-agent
echo kept > /var/lib/redflag-agent/state
dpkg --install /mnt/` + filepath.Base(deb) + ` >/dev/null
dpkg --purge redflag >/dev/null
test ! -e /usr/bin/redflag
`
	said, err := exec.Command("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--mount-proc",
		"sh", "-c", onThisSystem, "sh", t.TempDir(), filepath.Dir(deb), script).CombinedOutput()
	require.NoError(t, err, string(said))
	report, left, _ := strings.Cut(string(said), "--- left\n")
	require.Contains(t, report, "units verified")
	require.Regexp(t, `(?m)^redflag \S+`, report, "the binary of the package runs")
	state := false
	for path := range strings.Lines(left) {
		path = strings.TrimSpace(path)
		switch {
		case path == "./var/lib/redflag-agent/state":
			state = true
		case strings.HasPrefix(path, "./var/lib/dpkg/"), strings.HasPrefix(path, "./var/log/"): // dpkg's own books
		default:
			t.Errorf("the package leaves %s behind", path)
		}
	}
	require.True(t, state, "the state directory stays: %s", left)
}

func TestPackageForRPMIsBuilt(t *testing.T) {
	rpm := built(t, "rpm")
	head := make([]byte, 4)
	f, err := os.Open(rpm)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Read(head)
	require.NoError(t, err)
	require.Equal(t, "\xED\xAB\xEE\xDB", string(head), "the magic of an RPM package")
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Log("rpm is not on this machine: only its magic was looked at")
		return
	}
	files, err := exec.Command("rpm", "--query", "--list", "--package", rpm).Output()
	require.NoError(t, err)
	for _, want := range []string{"/usr/bin/redflag", "/usr/lib/systemd/system/redflag-agent.service", "/usr/lib/systemd/system/redflag-node.service"} {
		require.Contains(t, string(files), want)
	}
}

// TestImageFromScratch runs the binary where the Dockerfile puts it: in a root
// that holds nothing else.
func TestImageFromScratch(t *testing.T) {
	docker, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	require.Contains(t, string(docker), "\nFROM scratch\nCOPY bin/redflag /redflag\n")
	require.Contains(t, string(docker), `ENTRYPOINT ["/redflag"]`)
	deb := built(t, "deb") // which holds what make build has made
	if os.Getuid() != 0 {
		t.Skip("a root of its own needs root")
	}
	root := t.TempDir()
	said, err := exec.Command("dpkg-deb", "--extract", deb, root).CombinedOutput()
	require.NoError(t, err, string(said))
	said, err = exec.Command("chroot", filepath.Join(root, "usr", "bin"), "/redflag", "version").CombinedOutput()
	require.NoError(t, err, string(said))
	require.True(t, bytes.HasPrefix(said, []byte("redflag ")), string(said))
}
