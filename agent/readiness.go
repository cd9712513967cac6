package agent

import (
	"redflag/api"
)

// leastFree is how little disk makes a machine unable to do anything, in bytes.
const leastFree = 16 << 20

// readiness looks at the machine that holds the data directory. What cannot be
// known stays unknown.
func readiness(dir string) *api.Readiness {
	r := &api.Readiness{LoadPercent: loadPercent()}
	if free, total, ok := diskSpace(dir); ok {
		r.DiskFree, r.DiskTotal = &free, &total
		if free < leastFree {
			r.Degraded = "the disk is full: " + api.Bytes(free).String() + " free"
		}
	}
	return r
}
