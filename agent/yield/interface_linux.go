package yield

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// The kernel's tables. /proc/thread-self is the network of the caller's thread.
const (
	routes  = "/proc/thread-self/net/route"
	routes6 = "/proc/thread-self/net/ipv6_route"
	devices = "/proc/thread-self/net/dev"
)

// DefaultInterface returns the interface of the default route, and the bytes
// that have crossed it.
func DefaultInterface() (name string, all Bytes, err error) {
	four, err := os.ReadFile(routes)
	if err != nil {
		return "", all, fmt.Errorf("find default route: %w", err)
	}
	if name = routeOf(string(four)); name == "" {
		six, _ := os.ReadFile(routes6) // there may be no IPv6
		if name = routeOf6(string(six)); name == "" {
			return "", all, errors.New("there is no default route")
		}
	}
	table, err := os.ReadFile(devices)
	if err != nil {
		return name, all, fmt.Errorf("read counters of %s: %w", name, err)
	}
	all, err = countersOf(string(table), name)
	return name, all, err
}

// routeOf reads /proc/net/route: interface, destination, …, mask.
func routeOf(table string) string {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) >= 8 && f[1] == "00000000" && f[7] == "00000000" {
			return f[0]
		}
	}
	return ""
}

// routeOf6 reads /proc/net/ipv6_route: destination, its length, …, interface.
func routeOf6(table string) string {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) >= 10 && strings.Trim(f[0], "0") == "" && f[1] == "00" && f[9] != "lo" {
			return f[9]
		}
	}
	return ""
}

// countersOf reads /proc/net/dev.
func countersOf(table, dev string) (all Bytes, err error) {
	for line := range strings.Lines(table) {
		name, counts, _ := strings.Cut(line, ":")
		f := strings.Fields(counts)
		if strings.TrimSpace(name) != dev || len(f) < 9 {
			continue
		}
		var errs [2]error
		all.Down, errs[0] = strconv.ParseInt(f[0], 10, 64)
		all.Up, errs[1] = strconv.ParseInt(f[8], 10, 64)
		return all, errors.Join(errs[:]...)
	}
	return all, fmt.Errorf("interface %q has no counters", dev)
}
