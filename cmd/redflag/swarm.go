package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newSwarmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "swarm", GroupID: "steer",
		Short:   "See how a payload spreads: who has what, and who gives to whom",
		Example: "  redflag swarm show r-01K9 --watch",
	}
	addClientFlags(cmd)
	cmd.PersistentFlags().Bool("json", false, "print JSON instead of text")
	cmd.AddCommand(newSwarmShowCommand())
	return cmd
}

func newSwarmShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ROLLOUT",
		Short: "Show the swarm of a rollout's payload, as the machines' last polls said",
		Long: `Show the swarm of a rollout's payload, as the machines' last polls said.

Bytes are payload bytes, by where they came from: the agent's own site, other
agents of its region, its region's nodes, other regions (WAN), and ranges that
a node served over HTTPS where the swarm was too slow. The makespan is the time
of the slowest agent; the bound is what the caps allow at best, and is left out
where nothing is capped.`,
		Example: "  redflag swarm show r-01K9\n  redflag swarm show r-01K9 --watch\n  redflag swarm show r-01K9 --json",
		Args:    exactArgs("ROLLOUT"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			watch, _ := cmd.Flags().GetBool("watch")
			return showSwarm(cmd, client, args[0], watch)
		},
	}
	cmd.Flags().Bool("watch", false, "go on until every agent of the rollout has the payload")
	return cmd
}

// showSwarm prints a swarm once, or again and again until all agents are
// complete: in place on a terminal, one after the other elsewhere.
func showSwarm(cmd *cobra.Command, client *api.Client, id string, watch bool) error {
	out := cmd.OutOrStdout()
	live := watch && out == os.Stdout && isTerminal(os.Stdout)
	for {
		var s api.Swarm
		if err := client.Do(cmd.Context(), http.MethodGet, "/v1/rollouts/"+url.PathEscape(id)+"/swarm", nil, &s); err != nil {
			return err
		}
		if live {
			fmt.Fprint(out, "\x1b[H\x1b[2J")
		}
		if wantsJSON(cmd) {
			if err := printJSON(out, s); err != nil {
				return err
			}
		} else if err := printSwarm(out, &s); err != nil {
			return err
		}
		if !watch || completeAgents(&s) >= s.Agents {
			return nil
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-time.After(time.Second):
		}
	}
}

func completeAgents(s *api.Swarm) int {
	n := 0
	for _, m := range s.Members {
		if !m.Node && m.Complete() {
			n++
		}
	}
	return n
}

func printSwarm(out io.Writer, s *api.Swarm) error {
	fmt.Fprintf(out, "%s  %s %s, %s; %d of %d agents have it\n", s.RolloutID, s.Artifact, s.Version, api.Bytes(s.Length), completeAgents(s), s.Agents)
	var rows [][]string
	for _, m := range s.Members {
		kind := "agent"
		if m.Node {
			kind = "node"
		}
		by := m.BySource()
		rows = append(rows, []string{
			m.ID, kind, m.Region, cells(m.Transfer.Done, m.Transfer.Total),
			api.Bytes(by.Site).String(), api.Bytes(by.Region).String(), api.Bytes(by.Node).String(), api.Bytes(by.OtherRegions).String(), api.Bytes(by.HTTPS).String(),
			api.Bytes(m.Transfer.ToPeers).String(), api.Bytes(m.Wasted + m.Corrupt).String(), fmt.Sprint(m.Peers),
			rateText(m.Download), rateText(m.Upload),
		})
	}
	if err := printTable(out, "No machine has spoken of this payload yet.", []string{
		"MACHINE", "KIND", "REGION", "HAS", "SITE", "REGION'S", "NODE", "WAN", "HTTPS", "GAVE", "WASTE", "PEERS", "DOWN", "UP",
	}, rows); err != nil || len(rows) == 0 {
		return err
	}
	fmt.Fprintf(out, "\nagents' bytes: %s\nnodes sent %.2f payloads; makespan %s%s\n", shares(s.Bytes), s.NodeCopies, seconds(s.Makespan), boundText(s))
	printGifts(out, s)
	return nil
}

func shares(b api.SwarmBytes) string {
	sum := max(1, b.Site+b.Region+b.Node+b.OtherRegions+b.HTTPS)
	var parts []string
	for _, p := range []struct {
		name string
		n    int64
	}{
		{"same site", b.Site},
		{"same region", b.Region},
		{"nodes", b.Node},
		{"other regions", b.OtherRegions},
		{"HTTPS", b.HTTPS},
		{"twice", b.Wasted},
		{"corrupt", b.Corrupt},
	} {
		parts = append(parts, fmt.Sprintf("%s %.1f %%", p.name, float64(p.n)/float64(sum)*100))
	}
	return strings.Join(parts, ", ")
}

func boundText(s *api.Swarm) string {
	if s.Bound <= 0 {
		return ", no caps to measure it by"
	}
	return fmt.Sprintf(", at best %s under the caps (%.2f)", seconds(s.Bound), float64(s.Makespan)/float64(s.Bound))
}

func seconds(d api.Duration) string { return time.Duration(d).Round(100 * time.Millisecond).String() }

// rateText renders "1.2mbit, 60 % of 2mbit".
func rateText(r api.SwarmRate) string {
	if r.Cap == api.Unlimited {
		return rateOf(r.Now)
	}
	return fmt.Sprintf("%s, %.0f %% of %s", rateOf(r.Now), float64(r.Now)/float64(r.Cap)*100, r.Cap)
}

func rateOf(r api.Rate) string {
	if r <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1fmbit", float64(r)/1e6)
}

// maxGifts bounds the lines of who gives to whom.
const maxGifts = 20

func printGifts(out io.Writer, s *api.Swarm) {
	type gift struct {
		from, to string
		bytes    int64
	}
	var gifts []gift
	for _, m := range s.Members {
		for _, src := range m.Sources {
			gifts = append(gifts, gift{src.ID, m.ID, src.Bytes})
		}
	}
	slices.SortFunc(gifts, func(a, b gift) int { return int(b.bytes - a.bytes) })
	if len(gifts) > 0 {
		fmt.Fprintln(out, "\nwho gave most to whom:")
	}
	for _, g := range gifts[:min(len(gifts), maxGifts)] {
		fmt.Fprintf(out, "  %s -> %s  %s\n", g.from, g.to, api.Bytes(g.bytes))
	}
}
