package system

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/agent/install/installtest"
	"redflag/agent/process"
	"redflag/api"
)

// aptRoot is a private root with version 1.0 of a package, and a source of the
// machine's own that has the given one; the real apt works on it.
func aptRoot(t *testing.T, version string) (*System, installtest.Box) {
	t.Helper()
	s := &System{}
	if s.program("apt-get") == "" {
		t.Skip("there is no apt on this machine")
	}
	b := installtest.Box{Dir: t.TempDir()}
	b.NeedDpkg(t)
	require.NoError(t, os.Chmod(b.Dir, 0o755))
	for _, dir := range []string{"lists/partial", "archives/partial", "etc", "source"} {
		require.NoError(t, os.MkdirAll(b.Path(dir), 0o755))
	}
	write := func(name string, content []byte) { require.NoError(t, os.WriteFile(b.Path(name), content, 0o644)) }
	write("old.deb", installtest.Deb(t, "1.0"))
	dpkg := append(b.DpkgArgs(), "--install", b.Path("old.deb"))
	said, err := exec.Command("dpkg", dpkg...).CombinedOutput()
	require.NoError(t, err, string(said))

	next := installtest.Deb(t, version)
	write("source/next.deb", next)
	write("source/Packages", fmt.Appendf(nil, "Package: redflag-probe\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@example.invalid>\nDescription: a probe\nFilename: ./next.deb\nSize: %d\nSHA256: %x\n", version, len(next), sha256.Sum256(next)))
	write("etc/sources.list", []byte("deb [trusted=yes] file:"+b.Path("source")+" ./\n"))
	s.Apt = []string{
		"-o", "Dir::Etc=" + b.Path("etc"), "-o", "Dir::Etc::sourceparts=-", "-o", "Dir::State::lists=" + b.Path("lists"),
		"-o", "Dir::Cache=" + b.Path("."), "-o", "Dir::Cache::archives=" + b.Path("archives"), "-o", "Dir::Log=" + b.Path("."),
		"-o", "Dir::State::status=" + b.Path("root/var/lib/dpkg/status"), "-o", "Dir::State::extended_states=" + b.Path("extended"),
		"-o", "APT::Sandbox::User=root",
	}
	s.Dpkg = b.DpkgArgs()
	for _, a := range b.DpkgArgs() {
		s.Apt = append(s.Apt, "-o", "DPkg::Options::="+a)
	}
	said, err = exec.Command(filepath.Join("/usr/bin", "apt-get"), append(s.Apt, "--quiet", "update")...).CombinedOutput()
	require.NoError(t, err, string(said))
	return s, b
}

// TestUpgradeByTheRealApt upgrades one package in a private root.
func TestUpgradeByTheRealApt(t *testing.T) {
	s, b := aptRoot(t, "1.1-2~x1")
	inv := s.Scan(t.Context())
	require.Empty(t, inv.Problem)
	require.Equal(t, []api.PackageUpdate{{Name: "redflag-probe", Installed: "1.0", Candidate: "1.1-2~x1"}}, inv.Updates)

	said := &process.Tail{}
	require.ErrorContains(t, s.Upgrade(t.Context(), "redflag-probe", "9.9", said), "redflag-probe")
	require.Equal(t, "1.0", b.DpkgVersion(t), "a version that no source has changes nothing")
	err := s.Upgrade(t.Context(), "no-such-package", "", said)
	require.Equal(t, api.ErrorRefused, api.ClassOf(err), err)

	// As dpkg leaves it when the power goes: apt refuses to work until it is mended.
	half := b.Path("root/var/lib/dpkg/updates/0000")
	require.NoError(t, os.WriteFile(half, []byte("Package: redflag-probe\nStatus: install ok half-configured\nArchitecture: all\nMaintainer: nobody <nobody@example.invalid>\nVersion: 1.0\nConfig-Version: 1.0\nDescription: a probe\n"), 0o644))
	require.NoError(t, s.Upgrade(t.Context(), "redflag-probe", "1.1-2~x1", said))
	require.NoFileExists(t, half)
	require.Contains(t, said.String(), dpkgRepair, "it was in the way")
	require.Equal(t, "1.1-2~x1", b.DpkgVersion(t))
	require.NoError(t, s.Upgrade(t.Context(), "redflag-probe", "", said), "a repeat is harmless")
	require.Empty(t, s.Scan(t.Context()).Updates)
}
