package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/durable"
	"redflag/node"
)

func newOperatorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "operator",
		GroupID: "trust",
		Short:   "Make and revoke API tokens of operators",
		Long: `Make and revoke API tokens of operators.

A viewer sees everything, an operator also publishes and rolls out, an admin
also changes settings, tokens, trust and operators. A scope bounds the agents
that an operator may act on. The founder's credential, which the first node
wrote, is an admin; revoke it once there is another.`,
		Example: "  redflag operator create alice --role operator --scope region:eu-west --out alice.json",
	}
	addClientFlags(cmd)
	list := &cobra.Command{
		Use: "list", Short: "List operators", Example: "  redflag operator list --json", Args: exactArgs(), RunE: operatorList,
	}
	whoami := &cobra.Command{
		Use: "whoami", Short: "Show who the credential speaks for", Example: "  redflag operator whoami", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var op api.Operator
			if err := client.Do(cmd.Context(), http.MethodGet, "/v1/operators/self", nil, &op); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), op)
		},
	}
	addJSONFlag(list)
	cmd.AddCommand(newOperatorCreate(), list, whoami, &cobra.Command{
		Use: "revoke NAME", Short: "End an operator's token and sessions; founder is the first node's credential",
		Example: "  redflag operator revoke alice", Args: exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodDelete, "/v1/operators/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "the token of %s is revoked\n", args[0])
			return err
		},
	})
	return cmd
}

func newOperatorCreate() *cobra.Command {
	var role, out string
	var scope []string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make an API token; it is shown once",
		Example: "  redflag operator create alice --role operator --scope region:eu-west --ttl 720h --out alice.json",
		Args:    exactArgs("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := api.CreateOperatorRequest{ID: args[0], Role: api.OperatorRole(role), TTL: api.Duration(ttl)}
			if len(scope) > 0 {
				s, err := api.ParseSelector(scope...)
				if err != nil {
					return err
				}
				req.Scope = &s
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var resp api.CreateOperatorResponse
			if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPost, "/v1/operators", req, &resp); err != nil {
				return err
			}
			if out != "" {
				return writeCredential(cmd, out, resp)
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), resp)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), resp.Token)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&role, "role", string(api.OperatorViewer), "viewer, operator or admin")
	f.StringSliceVar(&scope, "scope", nil, "agents that the operator may act on: region:NAME, label:KEY=VALUE, agent:ID")
	f.DurationVar(&ttl, "ttl", 90*24*time.Hour, "how long the token is valid")
	f.StringVar(&out, "out", "", "write a credential file for the operator instead of printing the token")
	addJSONFlag(cmd)
	return cmd
}

// writeCredential makes a file for --credential out of the caller's own.
func writeCredential(cmd *cobra.Command, out string, resp api.CreateOperatorResponse) error {
	path, _ := cmd.Flags().GetString("credential")
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read credential: %w", err)
	}
	var cred node.Credential
	if err := json.Unmarshal(b, &cred); err != nil {
		return fmt.Errorf("read credential: %w", err)
	}
	cred.Token = resp.Token
	if b, err = json.MarshalIndent(cred, "", "  "); err != nil {
		return err
	}
	if err := durable.WriteFile(out, append(b, '\n'), 0o600); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "the credential of %s is in %s, until %s\n", resp.Operator.ID, out, resp.Operator.ExpiresAt.Format(time.DateOnly))
	return err
}

func operatorList(cmd *cobra.Command, _ []string) error {
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	var ops []api.Operator
	if err := client.Do(cmd.Context(), http.MethodGet, "/v1/operators", nil, &ops); err != nil {
		return err
	}
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), ops)
	}
	var rows [][]string
	for _, o := range ops {
		state := "valid"
		switch {
		case !o.RevokedAt.IsZero():
			state = "revoked"
		case !o.Live(time.Now()):
			state = "expired"
		}
		scope := "all"
		if o.Scope != nil {
			b, err := json.Marshal(o.Scope)
			if err != nil {
				return err
			}
			scope = string(b)
		}
		rows = append(rows, []string{o.ID, string(o.Role), state, scope, until(o.ExpiresAt), orDash(o.CreatedBy)})
	}
	return printTable(cmd.OutOrStdout(), "Only the founder so far. Make one with: redflag operator create NAME",
		[]string{"OPERATOR", "ROLE", "STATE", "SCOPE", "EXPIRES", "CREATED BY"}, rows)
}
