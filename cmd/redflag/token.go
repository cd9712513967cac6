package main

import (
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
	"redflag/trust"
	"redflag/trust/pki"
	"redflag/trust/signing"
)

func newTokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "token",
		GroupID: "trust",
		Short:   "Make and revoke registration tokens",
		Example: "  redflag token create --seats 100 --label site=berlin",
	}
	addClientFlags(cmd)
	cmd.AddCommand(newTokenCreate(), newTokenList(), &cobra.Command{
		Use:     "revoke ID",
		Short:   "Let a token admit nobody any more; who is enrolled stays so",
		Example: "  redflag token revoke t-9F3K",
		Args:    exactArgs("ID"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := client.Do(cmd.Context(), http.MethodDelete, "/v1/tokens/"+url.PathEscape(args[0]), nil, nil); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "token %s is revoked\n", args[0])
			return err
		},
	})
	return cmd
}

func newTokenCreate() *cobra.Command {
	var kind, keys string
	var seats int
	var ttl time.Duration
	var labels map[string]string
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token that admits agents or nodes; it is shown once",
		Long: `Make a token that admits agents or nodes; it is shown once.

The token carries the public key of the cluster's CA and, for agents, the hash
of the operator's root metadata: whoever enrols with it believes no server on
its word.`,
		Example: `  redflag token create --seats 100 --ttl 72h --label site=berlin
  redflag token create --kind node`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			req := api.CreateTokenRequest{Kind: api.TokenKind(kind), Seats: seats, TTL: api.Duration(ttl), Labels: labels}
			token, resp, err := createToken(cmd, client, req, keys)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), map[string]any{"token": token, "id": resp.Token.ID, "expires_at": resp.Token.ExpiresAt})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", token)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&kind, "kind", string(api.TokenAgent), "what it admits: agent or node")
	f.IntVar(&seats, "seats", 1, "how many it admits")
	f.DurationVar(&ttl, "ttl", 24*time.Hour, "how long it is valid")
	f.StringToStringVar(&labels, "label", nil, "label that agents get by enrolling with it, KEY=VALUE; may be repeated")
	f.StringVar(&keys, "keys", defaultKeysDir(), "folder of the signing keys, whose root agents are to trust")
	addJSONFlag(cmd)
	return cmd
}

// createToken asks for a token and pins the operator's own root in it. The
// server's word for the root counts only when this machine has no keys.
func createToken(cmd *cobra.Command, client *api.Client, req api.CreateTokenRequest, keys string) (string, api.CreateTokenResponse, error) {
	var resp api.CreateTokenResponse
	if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPost, "/v1/tokens", req, &resp); err != nil {
		return "", resp, err
	}
	pin := hex.EncodeToString(resp.RootHash)
	if repo, err := signing.Open(keys, signing.Options{}); err == nil {
		own := trust.RootHash(repo.First())
		if pin != "" && pin != own {
			return "", resp, api.Errorf(api.CodeConflict, "the cluster's TUF root is not the one in %s", keys).
				WithHint("use the keys that this cluster was set up with; if nobody changed them, the node is not to be trusted")
		}
		pin = own
	}
	if req.Kind == api.TokenAgent && pin == "" {
		return "", resp, api.Errorf(api.CodeConflict, "there is no TUF root to pin in the token").
			WithHint("create signing keys first: redflag keys init")
	}
	t := pki.RegistrationToken{ID: resp.Token.ID, Secret: resp.Secret, CA: resp.Authority, RootHash: pin}
	return t.Encode(), resp, nil
}

func newTokenList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List tokens",
		Example: "  redflag token list --json",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			tokens, err := api.List[api.Token](cmd.Context(), client, "/v1/tokens", nil, 0)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), tokens)
			}
			var rows [][]string
			for _, t := range tokens {
				rows = append(rows, []string{t.ID, string(t.Kind), fmt.Sprintf("%d/%d", t.Used, t.Seats), tokenState(t), t.ExpiresAt.Format(time.RFC3339), orDash(labelText(t.Labels))})
			}
			return printTable(cmd.OutOrStdout(), "No tokens. Make one with: redflag token create",
				[]string{"TOKEN", "KIND", "SEATS", "STATE", "EXPIRES", "LABELS"}, rows)
		},
	}
	addJSONFlag(cmd)
	return cmd
}

func tokenState(t api.Token) string {
	switch {
	case t.Revoked:
		return "revoked"
	case time.Now().After(t.ExpiresAt):
		return "expired"
	case t.Used >= t.Seats:
		return "used up"
	}
	return "valid"
}
