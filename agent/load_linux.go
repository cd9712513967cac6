package agent

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// loadPercent returns the one-minute load average per CPU, times 100.
func loadPercent() *int {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return nil
	}
	first, _, _ := strings.Cut(string(b), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil || load < 0 || load > 1e6 {
		return nil
	}
	percent := int(load * 100 / float64(runtime.NumCPU()))
	return &percent
}
