package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"redflag/api"
)

func newRolloutCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "rollout",
		GroupID: "steer",
		Short:   "Create, watch, pause, abort and roll back rollouts",
		Example: "  redflag rollout create app --version 1.4.0 --to region:eu-west --watch",
	}
	addClientFlags(cmd)
	cmd.PersistentFlags().Bool("json", false, "print JSON instead of text")
	cmd.AddCommand(newRolloutCreate(), newRolloutShow(), newRolloutList())
	cmd.AddCommand(newRolloutSteer()...)
	return cmd
}

func newRolloutCreate() *cobra.Command {
	req := api.CreateRolloutRequest{}
	var to []string
	var rollback, watch bool
	var plan planFlags
	kind := string(api.KindInstall)
	cmd := &cobra.Command{
		Use:   "create [ARTIFACT]",
		Short: "Ask agents to install a version, to go back, or to do something else",
		Example: `  redflag rollout create app --version 1.4.0 --to all --watch
  redflag rollout create app --version 1.4.0 --to region:eu-west --to label:role=kiosk
  redflag rollout create app --version 1.4.0 --to all --wave 5 --wave 25% --success-threshold 95 --max-failure-ratio 5 \
      --window "mon-fri 22:00-04:00 Europe/Berlin" --gate disk=2GiB,power
  redflag rollout create app --rollback --to agent:kiosk-17
  redflag rollout create --kind scan --to label:role=kiosk
  redflag rollout create openssl --kind update_package --to label:role=kiosk`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			var err error
			if req.Selector, err = api.ParseSelector(to...); err != nil {
				return err
			}
			req.Kind = api.Kind(kind)
			if rollback {
				req.Kind = api.KindRollback
			}
			if len(args) == 1 {
				req.Artifact = args[0]
			} else if req.Kind.NeedsArtifact() {
				return usageError{fmt.Errorf("which artifact?\n  next: redflag rollout create ARTIFACT; redflag artifacts lists them")}
			}
			if req.Plan, err = plan.plan(); err != nil {
				return err
			}
			if req.ID == "" {
				req.ID = "r-" + ulid.Make().String()
			}
			if req.Kind.NeedsVersion() && req.Version == "" {
				return usageError{errors.New("which version?\n  next: pass --version, or --rollback to go back to the one before")}
			}
			return startRollout(cmd, req, watch)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&to, "to", nil, "which agents: all, region:NAME, label:KEY=VALUE or agent:ID; terms narrow each other")
	f.StringVar(&req.Version, "version", "", "version to install")
	f.StringVar(&kind, "kind", kind, fmt.Sprintf("what to do: one of %v", api.Kinds))
	f.BoolVar(&req.AllowUnknownKind, "allow-unknown-kind", false, "send a kind that this version does not know to agents that may")
	f.BoolVar(&rollback, "rollback", false, "go back to the version installed before, instead of installing one")
	f.BoolVar(&watch, "watch", false, "stay and show progress until every agent is done")
	plan.add(cmd)
	f.StringVar(&req.ID, "rollout-id", "", "id of the rollout, to make a repeat harmless (default: a new one)")
	return cmd
}

// startRollout creates a rollout and shows it, to its end if watch is set.
func startRollout(cmd *cobra.Command, req api.CreateRolloutRequest, watch bool) error {
	if err := req.Validate(); err != nil {
		return err
	}
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	ctx := api.WithCorrelation(cmd.Context(), "")
	r, err := createRollout(ctx, client, req)
	if err != nil {
		return err
	}
	if !watch {
		return printRollout(cmd, r)
	}
	return watchRollout(cmd, client, r.ID)
}

// createRollout repeats a create whose outcome is unknown: the id makes that
// harmless.
func createRollout(ctx context.Context, client *api.Client, req api.CreateRolloutRequest) (api.Rollout, error) {
	var r api.Rollout
	var err error
	for range 5 {
		err = client.Do(ctx, http.MethodPost, "/v1/rollouts", req, &r)
		if code := api.CodeOf(err); code != api.CodeIndeterminate && code != api.CodeUnavailable {
			return r, err
		}
		select {
		case <-ctx.Done():
			return r, ctx.Err()
		case <-time.After(time.Second):
		}
	}
	return r, err
}

func newRolloutShow() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:     "show ID",
		Short:   "Show how far a rollout is",
		Example: "  redflag rollout show r-01K9 --watch",
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if watch {
				return watchRollout(cmd, client, args[0])
			}
			r, err := getRollout(cmd.Context(), client, args[0])
			if err != nil {
				return err
			}
			return printRollout(cmd, r)
		},
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "stay and show progress until every agent is done")
	return cmd
}

func newRolloutList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List rollouts, the newest first",
		Example: "  redflag rollout list --json",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			rollouts, err := api.List[api.Rollout](cmd.Context(), client, "/v1/rollouts", nil, 0)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), rollouts)
			}
			var rows [][]string
			for _, r := range rollouts {
				rows = append(rows, []string{r.ID, string(r.Kind), r.Artifact + " " + r.Version, clipped(r.Selector.String()), string(r.State), countText(r), ago(r.CreatedAt)})
			}
			return printTable(cmd.OutOrStdout(), "No rollouts. Create one with: redflag rollout create",
				[]string{"ROLLOUT", "KIND", "ARTIFACT", "TO", "STATE", "AGENTS", "CREATED"}, rows)
		},
	}
}

// clipped keeps a cell of a table readable: a selector may name thousands of agents.
func clipped(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return s[:most-1] + "…"
}

func getRollout(ctx context.Context, client *api.Client, id string) (api.Rollout, error) {
	var r api.Rollout
	err := client.Do(ctx, http.MethodGet, "/v1/rollouts/"+url.PathEscape(id), nil, &r)
	return r, err
}

// watchRollout redraws one line per region on a terminal, and prints plain
// lines as things change elsewhere. It ends with exit code 1 if any agent
// failed, or the rollout was aborted or halted.
func watchRollout(cmd *cobra.Command, client *api.Client, id string) error {
	screen := newRegionScreen(os.Stderr)
	answered := true
	for {
		r, err := getRollout(cmd.Context(), client, id)
		if err != nil && api.CodeOf(err) != api.CodeUnavailable {
			return err
		}
		if err != nil && answered {
			fmt.Fprintf(cmd.ErrOrStderr(), "%v; trying again\n", err)
		}
		answered = err == nil
		if err == nil {
			screen.draw(r)
			if r.State.Ended() || r.State == api.RolloutHalted {
				if err := printRollout(cmd, r); err != nil {
					return err
				}
				if r.Failures() > 0 || r.State != api.RolloutDone {
					return silentError{exitFailed}
				}
				return nil
			}
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-time.After(time.Second):
		}
	}
}

func printRollout(cmd *cobra.Command, r api.Rollout) error {
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), r)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s  %s %s %s  to %s\n%s: %s\ncorrelation %s\n", r.ID, r.Kind, r.Artifact, r.Version, r.Selector, r.State, countText(r), r.CorrelationID)
	fmt.Fprintf(out, "from peers %s, from nodes %s\n", api.Bytes(r.Transfer.FromPeers), api.Bytes(r.Transfer.FromNodes))
	printPlan(cmd, r)
	if r.State == api.RolloutHalted || r.State == api.RolloutPaused {
		fmt.Fprintf(out, "  next: redflag rollout resume %s, abort or rollback\n", r.ID)
	} else if r.Failures() > 0 {
		fmt.Fprintf(out, "  next: redflag commands --rollout %s --state failed\n", r.ID)
	} else if r.State == api.RolloutRunning {
		fmt.Fprintf(out, "  next: redflag rollout show %s --watch\n", r.ID)
	}
	return nil
}

// printPlan tells what of a rollout is not plain.
func printPlan(cmd *cobra.Command, r api.Rollout) {
	out := cmd.OutOrStdout()
	if r.Reason != "" {
		fmt.Fprintf(out, "reason: %s\n", plain(r.Reason))
	}
	if r.Waves > 1 {
		fmt.Fprintf(out, "wave %d of %d, %d of %d agents released\n", r.Wave, r.Waves, r.Released, r.Agents)
	}
	for _, w := range r.Plan.Windows {
		fmt.Fprintf(out, "window: %s\n", w)
	}
	if r.RollbackOf != "" {
		fmt.Fprintf(out, "rolls back %s\n", r.RollbackOf)
	}
	if r.RetryOf != "" {
		fmt.Fprintf(out, "repeats %s\n", r.RetryOf)
	}
	if !r.State.Ended() {
		fmt.Fprintf(out, "expires %s\n", r.ExpiresAt.Format(time.RFC3339))
	}
}

// countText renders "3 succeeded, 1 running of 4".
func countText(r api.Rollout) string {
	var parts []string
	for _, s := range api.States {
		if n := r.Counts[s]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return strings.Join(parts, ", ") + fmt.Sprintf(" of %d", r.Agents)
}
