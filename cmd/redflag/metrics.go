package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newMetricsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "metrics",
		GroupID: "steer",
		Short:   "Show what the cluster has counted over the last 30 days",
		Example: `  redflag metrics updates --from 24h --by artifact`,
		Args:    exactArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMetricsUpdates())
	return cmd
}

func newMetricsUpdates() *cobra.Command {
	var from, to, by string
	var step time.Duration
	cmd := &cobra.Command{
		Use:   "updates",
		Short: "Show how commands ended, hour by hour or every five minutes",
		Example: `  redflag metrics updates --from 168h
  redflag metrics updates --from 2h --step 5m --by class --json`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			q := url.Values{"step": {step.String()}, "by": {by}}
			for name, v := range map[string]string{"from": from, "to": to} {
				if v != "" {
					q.Set(name, v)
				}
			}
			var m api.UpdateMetrics
			if err := client.Do(cmd.Context(), http.MethodGet, "/v1/metrics/updates?"+q.Encode(), nil, &m); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), m)
			}
			return printUpdates(cmd, &m)
		},
	}
	addClientFlags(cmd)
	addJSONFlag(cmd)
	f := cmd.Flags()
	f.StringVar(&from, "from", "24h", "count from then on: 24h ago as 24h, or 2026-03-01T12:00:00Z")
	f.StringVar(&to, "to", "", "count until then, written alike (default now)")
	f.DurationVar(&step, "step", api.UpdatesLongStep, "length of a step: 1h or 5m")
	f.StringVar(&by, "by", "", "tell apart by artifact, region, result or class")
	return cmd
}

func printUpdates(cmd *cobra.Command, m *api.UpdateMetrics) error {
	type line struct {
		at    time.Time
		cells []string
	}
	var lines []line
	for _, s := range m.Series {
		for _, p := range s.Points {
			failed := p.Counts[api.StateFailed] + p.Counts[api.StateTimedOut] + p.Counts[api.StateRolledBack]
			lines = append(lines, line{p.At, []string{
				p.At.Format("2006-01-02 15:04"), s.Name, fmt.Sprint(p.Counts[api.StateSucceeded]), fmt.Sprint(failed),
				fmt.Sprint(p.Counts[api.StateCancelled]), fmt.Sprintf("%.1fs", p.MeanSeconds),
				api.Bytes(p.FromPeers).String(), api.Bytes(p.FromNodes).String(), api.Bytes(p.FromOtherRegions).String(),
			}})
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return a.at.Compare(b.at) })
	rows := make([][]string, 0, len(lines))
	for _, l := range lines {
		rows = append(rows, l.cells)
	}
	return printTable(cmd.OutOrStdout(), "no command ended in that time: redflag rollout create makes some",
		[]string{"FROM (UTC)", cmp.Or(string(m.By), "what"), "SUCCEEDED", "FAILED", "CANCELLED", "MEAN TIME", "PEERS", "NODES", "OTHER REGIONS"}, rows)
}
