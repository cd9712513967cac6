package main

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newAuditCommand() *cobra.Command {
	var who, action string
	var verify bool
	cmd := &cobra.Command{
		Use:     "audit",
		GroupID: "trust",
		Short:   "Show who changed what, from where; every record is chained to the one before",
		Example: `  redflag audit --who alice
  redflag audit --verify`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			records, err := api.List[api.AuditRecord](cmd.Context(), client, "/v1/audit", url.Values{}, 0)
			if err != nil {
				return err
			}
			if bad := api.VerifyAudit(records); bad != nil {
				return api.Errorf(api.CodeConflict, "the audit log was changed: record %d does not follow from the one before", bad.Seq).
					WithHint("compare with another node: redflag audit --server")
			}
			if verify {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d records follow from each other\n", len(records))
				return err
			}
			kept := []api.AuditRecord{}
			for _, r := range records {
				if strings.Contains(r.Who, who) && strings.Contains(r.Action, action) {
					kept = append(kept, r)
				}
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), kept)
			}
			var rows [][]string
			for _, r := range kept {
				rows = append(rows, []string{fmt.Sprint(r.Seq), r.At.Format(time.RFC3339), r.Who, r.Action, orDash(r.Target), r.From, orDash(oneLine(r.Detail))})
			}
			return printTable(cmd.OutOrStdout(), "Nothing was changed yet.", []string{"SEQ", "AT", "WHO", "ACTION", "TARGET", "FROM", "DETAIL"}, rows)
		},
	}
	cmd.Flags().StringVar(&who, "who", "", "only records of who has this in the name")
	cmd.Flags().StringVar(&action, "action", "", "only records whose action has this in it")
	cmd.Flags().BoolVar(&verify, "verify", false, "only check that no record was changed or taken out")
	addClientFlags(cmd)
	addJSONFlag(cmd)
	return cmd
}

// oneLine makes a detail fit a table: it quotes what callers sent.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return -1
		}
		return r
	}, s)
}
