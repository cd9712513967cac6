package main

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// dateNow returns the time that date prints: the conformance suite fakes that
// program's clock, which a static binary does not see.
func dateNow() (time.Time, error) {
	out, err := exec.Command("date", "+%s").Output() //nolint:noctx // a test's clock, it ends at once
	if err != nil {
		return time.Time{}, fmt.Errorf("run date: %w", err)
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(out)), 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("read date: %w", err)
	}
	return time.Unix(seconds, 0), nil
}
