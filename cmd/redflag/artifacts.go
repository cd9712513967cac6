package main

import (
	"net/http"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newArtifactsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "artifacts",
		GroupID: "steer",
		Short:   "List published artifacts",
		Example: "  redflag artifacts --json",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var artifacts []api.Artifact
			if err := client.Do(cmd.Context(), http.MethodGet, "/v1/artifacts", nil, &artifacts); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), artifacts)
			}
			var rows [][]string
			for _, a := range artifacts {
				rows = append(rows, []string{a.Name, a.Version, api.Bytes(a.Length).String(), ago(a.PublishedAt), a.OriginNode, a.SHA256})
			}
			return printTable(cmd.OutOrStdout(), "Nothing is published. Start with: redflag publish FILE --name N --version V",
				[]string{"ARTIFACT", "VERSION", "SIZE", "PUBLISHED", "VIA", "SHA256"}, rows)
		},
	}
	addClientFlags(cmd)
	addJSONFlag(cmd)
	return cmd
}
