package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"redflag/api"
)

// summary is what the demo found out, in the order that people ask.
type summary struct {
	Agents         int                `json:"agents"`
	Installed      int                `json:"installed"` // published bytes on disk
	Verified       int                `json:"verified"`  // signature and hash checked by the agent
	BytesFromPeers int64              `json:"bytes_from_peers"`
	BytesFromNodes int64              `json:"bytes_from_nodes"`
	WANCopies      map[string]float64 `json:"wan_copies"` // into each region
	Seconds        float64            `json:"seconds"`    // of the rollout
	PayloadBytes   int64              `json:"payload_bytes"`
	PayloadSHA256  string             `json:"payload_sha256"`
	FailedOver     int                `json:"failed_over"` // agents on another region's node
	LeaderKilled   bool               `json:"leader_killed"`
	LeaderCaughtUp bool               `json:"leader_caught_up"`
	AgentKilled    bool               `json:"agent_killed"`
	AgentKilledAt  int64              `json:"agent_killed_at,omitempty"` // bytes it had
	CorrelationID  string             `json:"correlation_id"`
	Failures       []string           `json:"failures,omitempty"`

	leader *process
}

func (d *demo) printSummary(w io.Writer, s summary) error {
	if d.json {
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", b)
		return err
	}
	var wan []string
	for _, region := range slices.Sorted(maps.Keys(s.WANCopies)) {
		wan = append(wan, fmt.Sprintf("%s %.2f", region, s.WANCopies[region]))
	}
	fmt.Fprintf(w, "\nagents     %d, installed %d, verified %d\n", s.Agents, s.Installed, s.Verified)
	fmt.Fprintf(w, "payload    %s, sha256 %s\n", api.Bytes(s.PayloadBytes), s.PayloadSHA256)
	fmt.Fprintf(w, "bytes      %s from peers, %s from nodes\n", api.Bytes(s.BytesFromPeers), api.Bytes(s.BytesFromNodes))
	fmt.Fprintf(w, "WAN copies %s\n", strings.Join(wan, ", "))
	fmt.Fprintf(w, "time       %.1f s\n", s.Seconds)
	fmt.Fprintf(w, "failover   %d agents poll another region's node\n", s.FailedOver)
	if d.chaos {
		fmt.Fprintf(w, "chaos      leader killed: %t, back and caught up: %t; agent killed: %t\n", s.LeaderKilled, s.LeaderCaughtUp, s.AgentKilled)
	}
	for _, f := range s.Failures {
		fmt.Fprintf(w, "failed     %s\n", f)
	}
	return nil
}
