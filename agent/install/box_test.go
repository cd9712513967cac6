package install

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/durable"
)

// box is a machine in a folder: a store, a journal of one job, and whatever
// the installers touch.
type box struct{ dir string }

func (b box) path(elem ...string) string { return filepath.Join(append([]string{b.dir}, elem...)...) }

func (b box) engine(tb testing.TB) *Engine {
	tb.Helper()
	s, err := OpenStore(b.path("artifacts"))
	require.NoError(tb, err)
	exe := b.path("base")
	if next, err := Successor(s.Dir, exe); err == nil && next != "" {
		exe = next
	}
	return &Engine{Store: s, Host: Host{
		DeviceType: "test-device", ModulesDir: b.path("modules"), Executable: exe,
		Dpkg:       []string{"--root=" + b.path("root"), "--force-not-root", "--force-bad-path"},
		BootIDFile: b.path("boot_id"), RevertPause: 1,
		Prove:  func(context.Context, string) error { return nil },
		Polled: func(context.Context) error { return nil },
	}}
}

// begin journals a job.
func (b box) begin(tb testing.TB, p Progress) {
	tb.Helper()
	require.NoError(tb, b.save(&p))
}

func (b box) save(p *Progress) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return durable.WriteFile(b.path("job.json"), raw, 0o600)
}

// work goes on with the journalled job, as a start of the agent does, until
// its outcome. The agent starts again as often as it has to.
func (b box) work(tb testing.TB, payload []byte, step func(string) error) error {
	tb.Helper()
	for {
		raw, err := os.ReadFile(b.path("job.json"))
		require.NoError(tb, err)
		job := &Job{
			Save: b.save, Log: hclog.NewNullLogger(),
			Fill: func(w io.Writer) error { _, err := w.Write(payload); return err },
		}
		require.NoError(tb, json.Unmarshal(raw, &job.Progress))
		e := b.engine(tb)
		e.OnStep(step)
		err = e.Run(tb.Context(), job)
		if !errors.Is(err, ErrRestart) {
			return err
		}
	}
}

// install runs a job without a crash.
func (b box) install(tb testing.TB, r Record, payload []byte) error {
	tb.Helper()
	cur, err := b.engine(tb).Store.Current(r.Name)
	require.NoError(tb, err)
	b.begin(tb, Progress{New: r, Old: cur})
	return b.work(tb, payload, nil)
}

func recordFor(kind api.InstallType, version string, payload []byte) Record {
	sum := sha256.Sum256(payload)
	return Record{
		Name: "app", Version: version, FileName: "app.bin", Length: int64(len(payload)),
		SHA256: hex.EncodeToString(sum[:]), InfoHash: "info " + version,
		Install: &api.Install{Type: kind, UnpackedSize: 1 << 20, UnpackedFiles: 100},
	}
}

// bundle packs files into a tar.
func bundle(tb testing.TB, files map[string]string) []byte {
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

// makeDeb builds a package of one file that holds its version.
func makeDeb(tb testing.TB, version string) []byte {
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
	said, err := exec.Command("dpkg-deb", "--root-owner-group", "--build", filepath.Join(dir, "pkg"), out).CombinedOutput()
	require.NoError(tb, err, string(said))
	b, err := os.ReadFile(out)
	require.NoError(tb, err)
	return b
}

// needDpkg makes the private root that dpkg works on.
func (b box) needDpkg(tb testing.TB) {
	tb.Helper()
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		tb.Skip("dpkg is not on this machine")
	}
	if os.Getuid() != 0 {
		tb.Skip("dpkg with a root of its own needs root")
	}
	for _, dir := range []string{"root/var/lib/dpkg/info", "root/var/lib/dpkg/updates", "root/var/log"} {
		require.NoError(tb, os.MkdirAll(b.path(dir), 0o755))
	}
	require.NoError(tb, os.WriteFile(b.path("root/var/lib/dpkg/status"), nil, 0o644))
}

// dpkgVersion is what dpkg's database and the file on disk say; they must agree.
func (b box) dpkgVersion(tb testing.TB) string {
	tb.Helper()
	out, err := exec.Command("dpkg-query", "--root="+b.path("root"), "--show", "--showformat=${db:Status-Status} ${Version}", "redflag-probe").Output()
	if err != nil {
		return "none"
	}
	file, err := os.ReadFile(b.path("root/usr/share/redflag-probe/version"))
	status, version, _ := strings.Cut(string(out), " ")
	if err != nil || status != "installed" || string(file) != version {
		return "between: " + string(out) + " with " + string(file)
	}
	return version
}

// filesModule is a module by the conventions of others: it takes files/.
const filesModule = `#!/bin/sh
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

// scripts is a bundle whose install is not atomic.
func scripts(tb testing.TB, version string) []byte {
	tb.Helper()
	return bundle(tb, map[string]string{
		"pre":      "#!/bin/sh\nset -e\ntest -n \"$REDFLAG_VERSION\"\n",
		"install":  "#!/bin/sh\nset -e\n: > \"$REDFLAG_STATE_DIR/../../../live\"\nprintf %s " + version + " > \"$REDFLAG_STATE_DIR/../../../live\"\n",
		"verify":   "#!/bin/sh\ntest \"$(cat \"$REDFLAG_STATE_DIR/../../../live\")\" = " + version + "\n",
		"commit":   "#!/bin/sh\nexit 0\n",
		"rollback": "#!/bin/sh\nset -e\nprintf %s \"$REDFLAG_PREVIOUS\" > \"$REDFLAG_STATE_DIR/../../../live.new\"\nmv \"$REDFLAG_STATE_DIR/../../../live.new\" \"$REDFLAG_STATE_DIR/../../../live\"\n",
	})
}

func (b box) module(tb testing.TB, name, script string) {
	tb.Helper()
	require.NoError(tb, os.MkdirAll(b.path("modules"), 0o755))
	require.NoError(tb, os.WriteFile(b.path("modules", name), []byte(script), 0o755))
}
