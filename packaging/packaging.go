// Package packaging holds what puts RedFlag on a machine as a service: systemd
// units, and the recipe of the Debian and RPM packages.
//
// It owns the units' hardening. It must never hold a path of one machine.
package packaging

import (
	"embed"
	"fmt"
	"strings"
)

//go:embed *.service *.conf
var files embed.FS

// The units, and the drop-in that opens the agent's to the whole system.
const (
	AgentUnit   = "redflag-agent.service"
	NodeUnit    = "redflag-node.service"
	AgentSystem = "redflag-agent-system.conf"

	packagedBinary = "/usr/bin/redflag"
)

// Unit returns a unit that runs the binary at path.
func Unit(name, binary string) (string, error) {
	b, err := files.ReadFile(name)
	if err != nil {
		return "", fmt.Errorf("read unit: %w", err)
	}
	return strings.ReplaceAll(string(b), packagedBinary, binary), nil
}
