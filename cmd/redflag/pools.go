package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"redflag/api"
)

func newPoolsCommand() *cobra.Command {
	var region string
	cmd := &cobra.Command{
		Use:     "pools",
		GroupID: "steer",
		Short:   "Show the agents that carry out server operations, or give them one",
		Long: `Show the agents that carry out server operations, the one chosen first on top.

The settings pool.members, pool.policy and pool.lease say who is in the pool, how
one is chosen, and after how much silence its work goes to another.`,
		Example: `  redflag settings set pool.members=label:role=gateway pool.policy=least_loaded
  redflag pools --region eu-west`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var p api.Pool
			path := "/v1/pool?" + url.Values{"region": {region}}.Encode()
			if err := client.Do(cmd.Context(), http.MethodGet, path, nil, &p); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), p)
			}
			rows := make([][]string, 0, len(p.Members))
			for _, m := range p.Members {
				load := "-"
				if m.Load != nil {
					load = strconv.Itoa(*m.Load) + "%"
				}
				rows = append(rows, []string{m.Agent, m.Region, load, ago(m.LastPoll), orDash(m.Unfit)})
			}
			empty := "No agent matches pool.members, which is " + p.Selector + ". Change it with: redflag settings set pool.members=…"
			return printTable(cmd.OutOrStdout(), empty, []string{"AGENT", "REGION", "LOAD", "LAST POLL", "NOT CHOSEN BECAUSE"}, rows)
		},
	}
	addClientFlags(cmd)
	cmd.PersistentFlags().Bool("json", false, "print JSON instead of a table")
	cmd.Flags().StringVar(&region, "region", "", "region that the work is near to (default: the node's that answers)")
	cmd.AddCommand(newPoolsRun(), newPoolsTasks())
	return cmd
}

func newPoolsRun() *cobra.Command {
	var req api.PoolTaskRequest
	cmd := &cobra.Command{
		Use:   "run KIND [ARTIFACT]",
		Short: "Give an operation to the agent that the policy chooses",
		Example: `  redflag pools run collect_specs
  redflag pools run install app --version 1.4.0 --region eu-west   # brings it to a site, verified`,
		Args: asUsage(cobra.RangeArgs(1, 2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			req.Kind = api.Kind(args[0])
			if !req.Kind.Known() {
				return usageError{fmt.Errorf("kind %q is not known\n  next: use one of %v", args[0], api.Kinds)}
			}
			if len(args) == 2 {
				req.Artifact = args[1]
			}
			if req.ID == "" {
				req.ID = strings.ToLower(ulid.Make().String())
			}
			if err := req.Validate(); err != nil {
				return err
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var t api.PoolTask
			if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPost, "/v1/pool/tasks", req, &t); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), t)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "task %s is with %s\n  next: redflag pools tasks\n", t.ID, t.Agent)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&req.Version, "version", "", "version, for a kind that needs one")
	f.StringVar(&req.Region, "region", "", "region that the work is near to (default: the node's that answers)")
	f.StringVar(&req.ID, "task-id", "", "id of the task, to make a repeat harmless (default: a new one)")
	return cmd
}

func newPoolsTasks() *cobra.Command {
	return &cobra.Command{
		Use:     "tasks",
		Short:   "List the operations given to the pool, the newest first",
		Example: "  redflag pools tasks --json",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			tasks, err := api.List[api.PoolTask](cmd.Context(), client, "/v1/pool/tasks", nil, 0)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), tasks)
			}
			rows := make([][]string, 0, len(tasks))
			for _, t := range tasks {
				rows = append(rows, []string{t.ID, string(t.Kind), orDash(strings.TrimSpace(t.Artifact + " " + t.Version)), t.Agent, strconv.Itoa(t.Attempts), orDash(string(t.Outcome)), ago(t.CreatedAt)})
			}
			return printTable(cmd.OutOrStdout(), "No tasks. Give one with: redflag pools run collect_specs",
				[]string{"TASK", "KIND", "ARTIFACT", "AGENT", "AGENTS TRIED", "STATE", "CREATED"}, rows)
		},
	}
}
