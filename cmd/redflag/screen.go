package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"redflag/api"
)

// regionScreen shows a rollout per region: redrawn in place on a terminal, one
// line whenever something ended elsewhere.
type regionScreen struct {
	out   io.Writer
	live  bool
	lines int
	last  string
}

func newRegionScreen(out *os.File) *regionScreen {
	return &regionScreen{out: out, live: isTerminal(out)}
}

func (s *regionScreen) draw(r api.Rollout) {
	if !s.live {
		if now := countText(r); now != s.last {
			s.last = now
			fmt.Fprintf(s.out, "%s: %s; from peers %s, from nodes %s\n", r.Artifact, now, api.Bytes(r.Transfer.FromPeers), api.Bytes(r.Transfer.FromNodes))
		}
		return
	}
	if s.lines > 0 {
		fmt.Fprintf(s.out, "\x1b[%dA", s.lines)
	}
	s.lines = len(r.Regions)
	for _, region := range r.Regions {
		fmt.Fprintf(s.out, "\r\x1b[K%s\n", regionLine(region))
	}
}

func regionLine(r api.RegionCounts) string {
	agents, ended := 0, 0
	for state, n := range r.Counts {
		agents += n
		if state.Terminal() {
			ended += n
		}
	}
	var parts []string
	for _, s := range api.States {
		if n := r.Counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	done, total := r.Transfer.Done, r.Transfer.Total
	if total > 0 && agents > 0 { // agents that have not started count too
		started := agents - r.Counts[api.StatePending] - r.Counts[api.StateLeased]
		if started > 0 {
			total = total / int64(started) * int64(agents)
		}
	}
	if ended == agents {
		done, total = 1, 1
	}
	return fmt.Sprintf("%-12s %s %d/%d  %s; from peers %s, from nodes %s", r.Region, cells(done, total), ended, agents,
		strings.Join(parts, ", "), api.Bytes(r.Transfer.FromPeers), api.Bytes(r.Transfer.FromNodes))
}
