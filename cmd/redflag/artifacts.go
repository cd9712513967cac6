package main

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newArtifactsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "artifacts",
		GroupID: "steer",
		Short:   "List published artifacts, and the ways to them",
		Example: `  redflag artifacts --json
  redflag artifacts show app 1.4.0`,
		Args: exactArgs(),
		RunE: listArtifacts,
	}
	list := &cobra.Command{
		Use: "list", Short: "List published artifacts", Example: "  redflag artifacts list", Args: exactArgs(), RunE: listArtifacts,
	}
	cmd.AddCommand(list, newArtifactShowCommand(), newArtifactTorrentCommand())
	addClientFlags(cmd)
	cmd.PersistentFlags().Bool("json", false, "print JSON instead of a table")
	return cmd
}

func listArtifacts(cmd *cobra.Command, _ []string) error {
	artifacts, err := artifacts(cmd)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), artifacts)
	}
	var rows [][]string
	for _, a := range artifacts {
		length, sum := a.Content()
		deltas := "-"
		if len(a.Deltas) > 0 {
			deltas = strconv.Itoa(len(a.Deltas))
		}
		rows = append(rows, []string{a.Name, a.Version, api.Bytes(length).String(), api.Bytes(a.Length).String(), deltas, ago(a.PublishedAt), a.OriginNode, sum})
	}
	return printTable(cmd.OutOrStdout(), "Nothing is published. Start with: redflag publish FILE --name N --version V",
		[]string{"ARTIFACT", "VERSION", "SIZE", "FETCHED", "DELTAS", "PUBLISHED", "VIA", "SHA256"}, rows)
}

func newArtifactShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show ARTIFACT VERSION",
		Short:   "Show the ways to a version, and what each saves",
		Example: "  redflag artifacts show app 1.4.0",
		Args:    exactArgs("ARTIFACT", "VERSION"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := findArtifact(cmd, args[0], args[1])
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), a)
			}
			length, sum := a.Content()
			fmt.Fprintf(cmd.OutOrStdout(), "%s %s: %s, sha256 %s, published %s via %s\n",
				a.Name, a.Version, api.Bytes(length), sum, ago(a.PublishedAt), a.OriginNode)
			rows := [][]string{way("any version", "whole", a.Length, length, a.InfoHash)}
			if a.Coding != nil {
				rows[0][1] = string(a.Coding.Method)
			}
			for _, d := range a.Deltas {
				rows = append(rows, way(d.FromVersion, string(api.CodingDelta), d.Length, length, d.InfoHash))
			}
			return printTable(cmd.OutOrStdout(), "", []string{"FROM", "WAY", "FETCHED", "SAVED", "INFO HASH"}, rows)
		},
	}
}

// way is one way to a payload of length bytes.
func way(from, how string, fetched, length int64, infoHash string) []string {
	saved := max(0, length-fetched)
	return []string{from, how, api.Bytes(fetched).String(), fmt.Sprintf("%s (%.1f %%)", api.Bytes(saved), 100*float64(saved)/float64(length)), infoHash}
}

func artifacts(cmd *cobra.Command) ([]api.Artifact, error) {
	client, err := connect(cmd)
	if err != nil {
		return nil, err
	}
	return allArtifacts(cmd.Context(), client)
}

func allArtifacts(ctx context.Context, client *api.Client) ([]api.Artifact, error) {
	return api.List[api.Artifact](ctx, client, "/v1/artifacts", nil, 0)
}

func findArtifact(cmd *cobra.Command, name, version string) (api.Artifact, error) {
	all, err := artifacts(cmd)
	if err != nil {
		return api.Artifact{}, err
	}
	for _, a := range all {
		if a.Name == name && a.Version == version {
			return a, nil
		}
	}
	return api.Artifact{}, api.Errorf(api.CodeNotFound, "%s %s is not published", name, version).WithHint("redflag artifacts lists what is")
}
