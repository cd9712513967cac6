package agent

import (
	"context"
	"time"

	"redflag/api"

	"redflag/agent/system"
)

// leastFree is how little disk makes a machine unable to do anything, in bytes.
const leastFree = 16 << 20

// readiness looks at the machine that holds the data directory. What cannot be
// known stays unknown.
func readiness(ctx context.Context, dir string, m *system.System, windows []api.Window) *api.Readiness {
	r := &api.Readiness{
		LoadPercent: loadPercent(), PackageLock: m.PackageLocked(), RebootPending: m.RebootPending(ctx), Metered: m.LinkMetered(ctx),
	}
	r.OnBattery, r.Battery = m.Power()
	if len(windows) > 0 {
		r.WindowOpen = new(api.WindowsOpen(windows, time.Now()))
		if !*r.WindowOpen {
			r.Blocked = append(r.Blocked, api.Blocked{Gate: "window", Reason: "the machine's own maintenance window is shut"})
		}
	}
	if free, total, ok := diskSpace(dir); ok {
		r.DiskFree, r.DiskTotal = &free, &total
		if free < leastFree {
			r.Degraded = "the disk is full: " + api.Bytes(free).String() + " free"
		}
	}
	return r
}
