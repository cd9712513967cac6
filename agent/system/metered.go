package system

import (
	"context"
	"strings"
	"time"

	"redflag/agent/process"
)

// meteredLife is how long a link is believed to be what it was.
const meteredLife = time.Minute

// LinkMetered says whether bytes cost on the link that the machine uses: what
// it is configured with, or else what NetworkManager says of the default
// route. It is nil where nobody knows.
func (s *System) LinkMetered(ctx context.Context) *bool {
	if s.Metered != nil {
		return s.Metered
	}
	program := s.program("busctl")
	if program == "" || !s.exists("run/NetworkManager") {
		return nil
	}
	return s.metered.get(meteredLife, func() *bool {
		var out process.Tail
		err := process.Run(ctx, process.Command{
			Argv: []string{
				program, "--system", "--timeout=2", "get-property", "org.freedesktop.NetworkManager",
				"/org/freedesktop/NetworkManager", "org.freedesktop.NetworkManager", "Metered",
			},
			Timeout: 5 * time.Second, Out: &out,
		})
		if err != nil {
			return nil
		}
		return parseMetered(out.String())
	})
}

// parseMetered reads NMMetered: unknown 0, yes 1, no 2, and guesses 3 and 4.
func parseMetered(property string) *bool {
	switch strings.TrimSpace(property) {
	case "u 1", "u 3":
		return new(true)
	case "u 2", "u 4":
		return new(false)
	}
	return nil
}
