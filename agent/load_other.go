//go:build !linux

package agent

// loadPercent is not known on this system.
func loadPercent() *int { return nil }
