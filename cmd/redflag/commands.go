package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"redflag/api"
)

func newCommandsCommand() *cobra.Command {
	var f commandFilter
	cmd := &cobra.Command{
		Use:     "commands [ID]",
		GroupID: "steer",
		Short:   "List commands with their states, show, retry or cancel one",
		Example: `  redflag commands --rollout r-01K9 --state failed
  redflag commands show r-01K9:kiosk-17
  redflag commands retry r-01K9:kiosk-17`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return showCommand(cmd, args[0])
			}
			return f.list(cmd)
		},
	}
	f.add(cmd)
	addClientFlags(cmd)
	cmd.PersistentFlags().Bool("json", false, "print JSON instead of text")
	cmd.AddCommand(newCommandsList(), newCommandsShow(), newCommandsRetry(), newCommandsCancel())
	return cmd
}

// commandFilter is the flags that narrow a listing.
type commandFilter struct {
	rollout, agent, artifact, correlation, state, class, since, until string
	limit                                                             int
}

func (f *commandFilter) add(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.rollout, "rollout", "", "only commands of this rollout")
	fs.StringVar(&f.agent, "agent", "", "only commands of this agent")
	fs.StringVar(&f.artifact, "artifact", "", "only commands about this artifact")
	fs.StringVar(&f.correlation, "correlation", "", "only commands with this correlation id")
	fs.StringVar(&f.state, "state", "", "only commands in this state")
	fs.StringVar(&f.class, "class", "", "only commands that failed with this class, such as health or disk")
	fs.StringVar(&f.since, "since", "", "only commands created since then: 24h ago as 24h, or 2026-03-01T12:00:00Z")
	fs.StringVar(&f.until, "until", "", "only commands created before then, written alike")
	fs.IntVar(&f.limit, "limit", 0, "show at most this many; 0 shows all")
}

func (f *commandFilter) query() (url.Values, error) {
	q := url.Values{}
	since, err := moment(f.since)
	if err != nil {
		return nil, err
	}
	until, err := moment(f.until)
	if err != nil {
		return nil, err
	}
	for k, v := range map[string]string{
		"rollout": f.rollout, "agent": f.agent, "artifact": f.artifact, "correlation": f.correlation,
		"state": f.state, "class": f.class, "since": since, "until": until,
	} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return q, nil
}

// moment reads a time, or how long ago it was, and writes it as the API wants.
func moment(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d).UTC().Format(time.RFC3339), nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return "", usageError{fmt.Errorf("%q is neither a duration nor a time\n  next: write 24h or 2026-03-01T12:00:00Z", s)}
	}
	return at.UTC().Format(time.RFC3339), nil
}

func (f *commandFilter) list(cmd *cobra.Command) error {
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	query, err := f.query()
	if err != nil {
		return err
	}
	commands, err := api.List[api.Command](cmd.Context(), client, "/v1/commands", query, f.limit)
	if err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), commands)
	}
	rows := make([][]string, 0, len(commands))
	for _, c := range commands {
		rows = append(rows, commandRow(c))
	}
	return printTable(cmd.OutOrStdout(), "No commands. Create some with: redflag rollout create",
		[]string{"COMMAND", "REGION", "KIND", "ARTIFACT", "STATE", "PEERS", "NODES", "REASON"}, rows)
}

func newCommandsList() *cobra.Command {
	var f commandFilter
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List commands, those of the newest rollout first, archived ones last",
		Example: "  redflag commands list --agent kiosk-17 --since 168h --json",
		Args:    exactArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return f.list(cmd) },
	}
	f.add(cmd)
	return cmd
}

func newCommandsShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show ID",
		Short:   "Show one command with its timeline and its execution log",
		Example: "  redflag commands show r-01K9:kiosk-17",
		Args:    exactArgs("ID"),
		RunE:    func(cmd *cobra.Command, args []string) error { return showCommand(cmd, args[0]) },
	}
}

func newCommandsRetry() *cobra.Command {
	var req api.RetryRequest
	cmd := &cobra.Command{
		Use:   "retry ID",
		Short: "Repeat a command that failed, as a rollout of its own linked to it",
		Long: `Repeat a command that failed, timed out or was cancelled. The repeat is a rollout
to the same agent, of the same kind and version, under the same windows, gates
and bounds; its command names the first one as retry_of.`,
		Example: "  redflag commands retry r-01K9:kiosk-17",
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if req.ID == "" {
				req.ID = "r-" + ulid.Make().String()
			}
			var r api.Rollout
			path := "/v1/commands/" + url.PathEscape(args[0]) + "/retry"
			if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPost, path, req, &r); err != nil {
				return err
			}
			return printRollout(cmd, r)
		},
	}
	cmd.Flags().StringVar(&req.ID, "rollout-id", "", "id of the new rollout, to make a repeat harmless (default: a new one)")
	return cmd
}

func newCommandsCancel() *cobra.Command {
	return &cobra.Command{
		Use:   "cancel ID",
		Short: "Cancel a command: at once if no agent has it, else its agent is asked to stop",
		Long: `Cancel a command. One that no agent has is cancelled at once. Otherwise its agent
is asked with its next poll: it stops and says so, or, once the change is being
made, goes on and says why.`,
		Example: "  redflag commands cancel r-01K9:kiosk-17",
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var c api.Command
			path := "/v1/commands/" + url.PathEscape(args[0]) + "/cancel"
			if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPost, path, nil, &c); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), c)
			}
			if c.State.Terminal() {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", c.ID, c.State)
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is %s; its agent is asked to stop with its next poll\n  next: redflag commands show %s\n", c.ID, c.State, c.ID)
			return nil
		},
	}
}

func showCommand(cmd *cobra.Command, id string) error {
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	var c api.CommandDetail
	if err := client.Do(cmd.Context(), http.MethodGet, "/v1/commands/"+url.PathEscape(id), nil, &c); err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), c)
	}
	printCommand(cmd, c)
	return nil
}

func printCommand(cmd *cobra.Command, c api.CommandDetail) {
	out := cmd.OutOrStdout()
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%-12s %s\n", name, plain(value))
		}
	}
	fmt.Fprintf(out, "%s  %s %s %s\n", c.ID, c.Kind, c.Artifact, c.Version)
	line("state", string(c.State))
	line("phase", string(c.Phase))
	line("waiting", c.Waiting)
	line("agent", c.AgentID+" in "+c.Region)
	line("retry of", c.RetryOf)
	line("correlation", c.CorrelationID)
	if c.Failure != nil {
		line("failure", c.Failure.String())
	}
	line("goes on", c.CancelRefused)
	if !c.Deadline.IsZero() && !c.State.Terminal() {
		line("deadline", c.Deadline.Format(time.RFC3339))
	}
	for _, e := range c.Timeline {
		fmt.Fprintf(out, "  %s  %s\n", e.At.Format("2006-01-02T15:04:05.000Z07:00"), plain(e.What))
	}
	printLog(cmd, c.Log)
	if c.State.Failed() {
		fmt.Fprintf(out, "  next: redflag commands retry %s\n", c.ID)
	}
}

func printLog(cmd *cobra.Command, l *api.ExecutionLog) {
	if l == nil {
		return
	}
	out := cmd.OutOrStdout()
	for _, s := range l.Steps {
		fmt.Fprintf(out, "  step %-12s %s\n", plain(s.Name), time.Duration(s.Millis)*time.Millisecond)
	}
	if l.ExitCode != nil {
		fmt.Fprintf(out, "  exit code %s\n", strconv.Itoa(*l.ExitCode))
	}
	for name, text := range map[string]string{"stdout": l.Stdout, "stderr": l.Stderr} {
		if text != "" {
			fmt.Fprintf(out, "  %s:\n", name)
			for l := range strings.Lines(text) {
				fmt.Fprintln(out, plain(strings.ReplaceAll(strings.TrimSuffix(l, "\n"), "\t", "    ")))
			}
		}
	}
}

func commandRow(c api.Command) []string {
	state, peers, nodes, reason := string(c.State), "-", "-", orDash(c.Waiting)
	if c.State == api.StateRunning && c.Phase != "" {
		state = string(c.Phase)
	}
	if c.Transfer != nil {
		peers, nodes = api.Bytes(c.Transfer.FromPeers).String(), api.Bytes(c.Transfer.FromNodes).String()
	}
	if c.Failure != nil {
		reason = c.Failure.String()
	}
	return []string{c.ID, c.Region, string(c.Kind), c.Artifact + " " + c.Version, state, peers, nodes, reason}
}
