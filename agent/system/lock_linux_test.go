package system

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const envHold = "REDFLAG_HOLD_LOCK"

// TestHoldLock is the process that another test has hold a lock.
func TestHoldLock(t *testing.T) {
	path := os.Getenv(envHold)
	if path == "" {
		t.Skip("it is run by TestPackageLocked")
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	require.NoError(t, unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}))
	_, err = os.Stdout.WriteString("held\n")
	require.NoError(t, err)
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the other test ends this
}

func TestPackageLocked(t *testing.T) {
	require.Nil(t, root(t, nil).PackageLocked(), "there is no package manager")
	s := root(t, map[string]string{"var/lib/dpkg/lock-frontend": "", "var/lib/dpkg/lock": ""})
	require.Equal(t, new(false), s.PackageLocked())

	holder := exec.Command(os.Args[0], "-test.run=^TestHoldLock$")
	holder.Env = append(os.Environ(), envHold+"="+s.path("var/lib/dpkg/lock-frontend"))
	in, err := holder.StdinPipe()
	require.NoError(t, err)
	out, err := holder.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, holder.Start())
	_, err = out.Read(make([]byte, 5))
	require.NoError(t, err)
	require.Equal(t, new(true), s.PackageLocked())
	require.NoError(t, in.Close())
	_ = holder.Wait()
	require.Equal(t, new(false), s.PackageLocked())

	dnf := root(t, map[string]string{"var/cache/dnf/metadata_lock.pid": "4711", "var/lib/rpm/.rpm.lock": ""})
	require.Equal(t, new(false), dnf.PackageLocked(), "the process that wrote it is gone")
	require.NoError(t, os.MkdirAll(dnf.path("proc/4711"), 0o755))
	require.Equal(t, new(true), dnf.PackageLocked())
}
