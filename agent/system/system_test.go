package system

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/agent/process"
	"redflag/api"
)

// root lays out files below a folder of their own; a file in a folder named bin
// is a program.
func root(t *testing.T, files map[string]string) *System {
	t.Helper()
	s := &System{Root: t.TempDir()}
	for path, content := range files {
		mode := os.FileMode(0o644)
		if strings.Contains(path, "bin/") {
			mode = 0o755
		}
		require.NoError(t, os.MkdirAll(filepath.Dir(s.path(path)), 0o755))
		require.NoError(t, os.WriteFile(s.path(path), []byte(content), mode))
	}
	return s
}

func TestPower(t *testing.T) {
	const dir = "sys/class/power_supply/"
	for name, tc := range map[string]struct {
		files   map[string]string
		battery *bool
		percent int
	}{
		"nothing is known":     {map[string]string{"etc/hostname": "x"}, nil, -1},
		"a server":             {map[string]string{dir + "AC/type": "Mains\n", dir + "AC/online": "1\n"}, new(false), -1},
		"a laptop on the road": {map[string]string{dir + "AC/type": "Mains", dir + "AC/online": "0", dir + "BAT0/type": "Battery", dir + "BAT0/status": "Discharging", dir + "BAT0/capacity": "41\n"}, new(true), 41},
		"a laptop at a desk":   {map[string]string{dir + "ucsi/type": "USB", dir + "ucsi/online": "1", dir + "BAT0/type": "Battery", dir + "BAT0/capacity": "80", dir + "BAT1/type": "Battery", dir + "BAT1/capacity": "60"}, new(false), 70},
		"a tablet":             {map[string]string{dir + "b/type": "Battery", dir + "b/status": "Discharging", dir + "b/capacity": "7"}, new(true), 7},
		"a mouse":              {map[string]string{dir + "m/type": "Battery", dir + "m/scope": "Device", dir + "m/status": "Discharging", dir + "m/capacity": "7"}, new(false), -1},
		"an empty bay":         {map[string]string{dir + "b/type": "Battery", dir + "b/present": "0"}, new(false), -1},
	} {
		t.Run(name, func(t *testing.T) {
			battery, percent := root(t, tc.files).Power()
			require.Equal(t, tc.battery, battery)
			if tc.percent < 0 {
				require.Nil(t, percent)
			} else {
				require.Equal(t, tc.percent, *percent)
			}
		})
	}
}

func TestRebootPending(t *testing.T) {
	for name, tc := range map[string]struct {
		files map[string]string
		want  *bool
	}{
		"nobody knows":   {map[string]string{"etc/hostname": "x"}, nil},
		"debian, no":     {map[string]string{"var/lib/dpkg/status": ""}, new(false)},
		"debian, yes":    {map[string]string{"var/lib/dpkg/status": "", "run/reboot-required": "*** System restart required ***"}, new(true)},
		"fedora, no":     {map[string]string{"usr/bin/needs-restarting": "#!/bin/sh\ntest \"$1\" = --reboothint\n"}, new(false)},
		"fedora, yes":    {map[string]string{"usr/bin/needs-restarting": "#!/bin/sh\nexit 1\n"}, new(true)},
		"fedora, broken": {map[string]string{"usr/bin/needs-restarting": "#!/bin/sh\nexit 3\n"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, root(t, tc.files).RebootPending(t.Context()))
		})
	}
}

func TestLinkMetered(t *testing.T) {
	ask := func(answer string) map[string]string {
		return map[string]string{
			"run/NetworkManager/x": "",
			"usr/bin/busctl":       "#!/bin/sh\ncase \"$*\" in *org.freedesktop.NetworkManager\\ Metered) echo '" + answer + "' ;; *) exit 2 ;; esac\n",
		}
	}
	require.Nil(t, root(t, nil).LinkMetered(t.Context()))
	for answer, want := range map[string]*bool{"u 0": nil, "u 1": new(true), "u 2": new(false), "u 3": new(true), "u 4": new(false), "rubbish": nil} {
		require.Equal(t, want, root(t, ask(answer)).LinkMetered(t.Context()), answer)
	}
	s := root(t, ask("u 1"))
	s.Metered = new(false)
	require.Equal(t, new(false), s.LinkMetered(t.Context()), "what is configured wins")
}

func TestFacts(t *testing.T) {
	s := root(t, map[string]string{
		"etc/os-release":            "# a comment\nPRETTY_NAME=\"A \\\"fine\\\" system\"\nID=debian\nVERSION_ID='12'\nbroken\n",
		"proc/sys/kernel/osrelease": "6.1.0-18-amd64\n",
	})
	f := s.Facts()
	require.Equal(t, `A "fine" system`, f.Name)
	require.Equal(t, []string{"debian", "12", "6.1.0-18-amd64"}, []string{f.ID, f.Version, f.Kernel})
	require.NotEmpty(t, f.Arch)
}

const aptSaid = `Reading package lists...
Inst base-files [12.4+deb12u10] (12.4+deb12u12 Debian:12.12/oldstable [amd64])
Inst libssl3:i386 [3.0.15-1~deb12u1] (3.0.17-1~deb12u2 Debian-Security:12/oldstable-security [i386]) []
Inst linux-image-6.1.0-40-amd64 (6.1.153-1 Debian:12.12/oldstable [amd64])
Inst ../evil [1] (2 Debian:12 [amd64])
Conf base-files (12.4+deb12u12 Debian:12.12/oldstable [amd64])
`

const dnfSaid = `
bash.x86_64                     5.2.26-3.fc40                    updates
python3-pip-wheel.noarch        1:23.3.2-2.fc40                  fedora-security
Last metadata expiration check: 0:01:02 ago
Obsoleting Packages
grub2-tools.x86_64              1:2.06-123.fc40                  updates
`

func TestScanParsesAptAndDnf(t *testing.T) {
	apt := root(t, map[string]string{"usr/bin/apt-get": "#!/bin/sh\ncat <<'E'\n" + aptSaid + "E\n", "var/lib/apt/lists/x": ""}).Scan(t.Context())
	require.Empty(t, apt.Problem)
	require.Equal(t, "apt", apt.Manager)
	require.False(t, apt.Refreshed.IsZero())
	require.Equal(t, 2, apt.Pending)
	require.Equal(t, 1, apt.Security)
	require.Equal(t, []api.PackageUpdate{
		{Name: "libssl3", Installed: "3.0.15-1~deb12u1", Candidate: "3.0.17-1~deb12u2", Security: true},
		{Name: "base-files", Installed: "12.4+deb12u10", Candidate: "12.4+deb12u12"},
	}, apt.Updates)

	dnf := root(t, map[string]string{"usr/bin/dnf": "#!/bin/sh\ncat <<'E'\n" + dnfSaid + "E\nexit 100\n"}).Scan(t.Context())
	require.Empty(t, dnf.Problem)
	require.Equal(t, []api.PackageUpdate{
		{Name: "python3-pip-wheel", Candidate: "1:23.3.2-2.fc40", Security: true},
		{Name: "bash", Candidate: "5.2.26-3.fc40"},
	}, dnf.Updates)

	broken := root(t, map[string]string{"usr/bin/dnf": "#!/bin/sh\necho no cache >&2\nexit 1\n"}).Scan(t.Context())
	require.Contains(t, broken.Problem, "no cache")
}

// TestScanOfThisMachine asks the real package manager, which changes nothing.
func TestScanOfThisMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("the real package manager takes seconds")
	}
	s := &System{}
	if s.program("apt-get") == "" {
		t.Skip("there is no apt on this machine")
	}
	inv := s.Scan(t.Context())
	require.Empty(t, inv.Problem)
	require.Equal(t, "apt", inv.Manager)
	require.NotEmpty(t, inv.OS.ID)
	require.NotNil(t, s.PackageLocked())
	said, err := exec.Command("apt-get", "--simulate", "-o", "Debug::NoLocking=true", "dist-upgrade").Output()
	require.NoError(t, err)
	want := 0
	for line := range strings.Lines(string(said)) {
		if strings.HasPrefix(line, "Inst ") && strings.Contains(line, "] (") {
			want++
		}
	}
	require.Equal(t, want, inv.Pending, "every package that apt would upgrade is found")
}

func TestUpgradeTakesNamesAndNothingElse(t *testing.T) {
	s := root(t, map[string]string{"usr/bin/apt-get": "#!/bin/sh\n: > ran\n"})
	for _, name := range []string{"", "-o=x", "a b", "a;b", "../a", "a:b", "+a", "$(a)", "a=1"} {
		require.Equal(t, api.ErrorRefused, api.ClassOf(s.Upgrade(t.Context(), name, "", &process.Tail{})), name)
	}
	for _, version := range []string{"-1", "1 2", "1;x", "$x", "1/2", strings.Repeat("1", 200)} {
		require.Equal(t, api.ErrorRefused, api.ClassOf(s.Upgrade(t.Context(), "bash", version, &process.Tail{})), version)
	}
	require.NoFileExists(t, "ran")
}
