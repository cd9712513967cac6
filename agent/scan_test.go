package agent

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/agent/system"
	"redflag/api"
)

// fakeSystem is a machine whose apt says that bash is outdated.
func fakeSystem(t *testing.T) *system.System {
	t.Helper()
	dir := t.TempDir()
	apt := "#!/bin/sh\necho 'Inst bash [5.2-1] (5.2-2 Debian-Security:12 [amd64])'\n"
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "usr/bin/apt-get"), []byte(apt), 0o755))
	return &system.System{Root: dir}
}

func TestScanGoesOutWithItsReport(t *testing.T) {
	m := newMachine(t, "1.0")
	require.Equal(t, api.StateSucceeded, m.install("1.0").State)
	m.system = fakeSystem(t)
	m.order(api.KindScan, "")
	report := m.work()
	require.Equal(t, api.StateSucceeded, report.State)
	require.Equal(t, []api.PackageUpdate{{Name: "bash", Installed: "5.2-1", Candidate: "5.2-2", Security: true}}, report.Inventory.Updates)
	require.Equal(t, "1.0", report.Inventory.Artifacts[0].Version)

	reports := outbox(t, m.journal)
	require.Nil(t, reports[len(reports)-2].Inventory)
	require.Len(t, oneInventory(reports), len(reports)-1, "an inventory waits for a poll of its own")
	require.Len(t, oneInventory(reports[len(reports)-1:]), 1)
}

func TestPackagesAreUpdatedOnlyWhereThatIsAllowed(t *testing.T) {
	m := newMachine(t)
	m.system = fakeSystem(t)
	m.order(api.KindUpdatePackage, "5.2-2")
	report := m.work()
	require.Equal(t, api.StateFailed, report.State)
	require.Equal(t, api.ErrorRefused, report.Failure.Class)
}

func TestUpdateAgentTakesNothingElse(t *testing.T) {
	m := newMachine(t, "1.0")
	m.order(api.KindUpdateAgent, "1.0")
	report := m.work()
	require.Equal(t, api.ErrorVerify, report.Failure.Class)
	require.Contains(t, report.Failure.Message, "--type self")
}

func TestOwnWindowBlocks(t *testing.T) {
	now := time.Now().UTC()
	shut := api.Window{Days: []int{(int(now.Weekday()) + 3) % 7}, From: 0, To: 60, Zone: "UTC"}
	r := readiness(t.Context(), t.TempDir(), &system.System{Root: t.TempDir()}, []api.Window{shut})
	require.False(t, *r.WindowOpen)
	require.Equal(t, "window", r.Blocked[0].Gate)
	require.Contains(t, r.Conditions(), "window_shut")
	require.Contains(t, api.Gates{}.Closed(r, 0), "window")
}
