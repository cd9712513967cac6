package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"redflag/api"
)

const selectHelp = "all, region:NAME, label:KEY=VALUE or agent:ID; may be repeated"

func newAgentsReadiness() *cobra.Command {
	var selectors []string
	cmd := &cobra.Command{
		Use:     "readiness",
		Short:   "Count what keeps machines from being worked on, by region",
		Example: "  redflag agents readiness --select label:role=kiosk",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var regions []api.ReadinessCounts
			path := "/v1/agent-readiness?" + url.Values{"select": selectors}.Encode()
			if err := client.Do(cmd.Context(), http.MethodGet, path, nil, &regions); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), regions)
			}
			header := []string{"REGION"}
			for _, c := range api.Conditions {
				header = append(header, strings.ToUpper(strings.ReplaceAll(c, "_", " ")))
			}
			rows := make([][]string, 0, len(regions))
			for _, r := range regions {
				row := []string{r.Region}
				for _, c := range api.Conditions {
					row = append(row, strconv.Itoa(r.Counts[c]))
				}
				rows = append(rows, row)
			}
			return printTable(cmd.OutOrStdout(), "No agent has polled lately.", header, rows)
		},
	}
	cmd.Flags().StringArrayVar(&selectors, "select", nil, selectHelp)
	return cmd
}

func newAgentsOutdated() *cobra.Command {
	var selectors []string
	cmd := &cobra.Command{
		Use:   "outdated",
		Short: "List artifacts and packages of the operating system that are outdated on some machines",
		Long: `List artifacts and packages of the operating system that are outdated on some machines.

An artifact is outdated where a newer version was signed for that very machine; agents
say with each poll what they have. Packages are those of the last scans:

  redflag rollout create app --version 1.5.0 --to all
  redflag rollout create --kind scan --to all
  redflag rollout create openssl --kind update_package --to all

the last on machines whose agents run with --os-updates.`,
		Example: "  redflag agents outdated --select region:eu-west",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var out api.Outdated
			path := "/v1/agent-updates?" + url.Values{"select": selectors}.Encode()
			if err := client.Do(cmd.Context(), http.MethodGet, path, nil, &out); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), out)
			}
			if err := printOutdatedArtifacts(cmd, out.Artifacts); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout())
			return printOutdatedPackages(cmd, out)
		},
	}
	cmd.Flags().StringArrayVar(&selectors, "select", nil, selectHelp)
	return cmd
}

func printOutdatedArtifacts(cmd *cobra.Command, outdated []api.OutdatedArtifact) error {
	rows := make([][]string, 0, len(outdated))
	for _, a := range outdated {
		rows = append(rows, []string{a.Name, a.Installed, a.Newest, strconv.Itoa(a.Agents), a.Example})
	}
	return printTable(cmd.OutOrStdout(), "No artifact is outdated.", []string{"ARTIFACT", "INSTALLED", "NEWEST", "AGENTS", "ONE OF THEM"}, rows)
}

func printOutdatedPackages(cmd *cobra.Command, out api.Outdated) error {
	rows := make([][]string, 0, len(out.Items))
	for _, p := range out.Items {
		rows = append(rows, []string{p.Name, p.Candidate, yesOrDash(p.Security), strconv.Itoa(p.Agents), p.Example})
	}
	empty := "No package is outdated."
	if out.Scanned == 0 {
		empty = "No scans yet. Make some with: redflag rollout create --kind scan --to all"
	}
	if err := printTable(cmd.OutOrStdout(), empty, []string{"PACKAGE", "CANDIDATE", "SECURITY", "AGENTS", "ONE OF THEM"}, rows); err != nil || out.Scanned == 0 {
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d of %d scanned agents have updates pending, %d of %d are scanned; the oldest scan is of %s\n",
		out.Pending, out.Scanned, out.Scanned, out.Agents, ago(out.Oldest))
	return err
}
