package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"redflag/api"
)

func newSettingsExplain() *cobra.Command {
	var agent, node string
	cmd := &cobra.Command{
		Use:   "explain [KEY]",
		Short: "Say which layer decides a setting for an agent or a node",
		Example: `  redflag settings explain debug --agent kiosk-17
  redflag settings explain --node eu1`,
		Args: atMostOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			if (agent == "") == (node == "") {
				return usageError{errors.New("for whom?\n  next: pass --agent ID or --node ID")}
			}
			q := forWhom(agent, node)
			if len(args) == 1 {
				q.Set("key", args[0])
			}
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var all []api.SettingExplained
			if err := client.Do(cmd.Context(), http.MethodGet, "/v1/settings/explain?"+q.Encode(), nil, &all); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), all)
			}
			return printExplained(cmd, all)
		},
	}
	cmd.Flags().StringVar(&agent, "agent", "", "the agent to explain it for")
	cmd.Flags().StringVar(&node, "node", "", "the node to explain it for")
	return cmd
}

// printExplained shows the winner first and what it overrules below it.
func printExplained(cmd *cobra.Command, all []api.SettingExplained) error {
	var rows [][]string
	for _, e := range all {
		def := e.Value
		if spec, ok := api.Spec(e.Key); ok {
			def = spec.Default
		}
		for i, v := range slices.Backward(e.Layers) {
			mark := "overruled"
			if i == len(e.Layers)-1 {
				mark = "holds"
			}
			rows = append(rows, append([]string{mark}, layerRow(v)...))
		}
		mark := "overruled"
		if e.Default {
			mark = "holds"
		}
		rows = append(rows, []string{mark, "default", string(e.Key), def, "-", "-", "-"})
	}
	return printTable(cmd.OutOrStdout(), "No settings.",
		[]string{"", "LAYER", "SETTING", "VALUE", "SET BY", "WHEN", "UNTIL"}, rows)
}

func newSettingsHistory() *cobra.Command {
	return &cobra.Command{
		Use:     "history",
		Short:   "List who changed what when, the newest first",
		Example: "  redflag settings history --json",
		Args:    exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			records, err := api.List[api.SettingsRecord](cmd.Context(), client, "/v1/settings/history", url.Values{}, 0)
			if err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), records)
			}
			var rows [][]string
			for _, r := range records {
				note := "-"
				switch {
				case r.UndoneBy != 0:
					note = fmt.Sprintf("undone by %d", r.UndoneBy)
				case r.Undoes != 0:
					note = fmt.Sprintf("undoes %d", r.Undoes)
				}
				rows = append(rows, []string{strconv.FormatUint(r.Change, 10), ago(r.At), orDash(r.By), r.Layer, r.String(), note})
			}
			return printTable(cmd.OutOrStdout(), "Nothing was changed yet.",
				[]string{"CHANGE", "WHEN", "BY", "LAYER", "WHAT", "NOTE"}, rows)
		},
	}
}

func newSettingsUndo() *cobra.Command {
	return &cobra.Command{
		Use:     "undo CHANGE",
		Short:   "Put back what a change replaced; history has the numbers",
		Example: "  redflag settings undo 12",
		Args:    exactArgs("CHANGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var record api.SettingsRecord
			path := "/v1/settings/history/" + url.PathEscape(args[0]) + "/undo"
			if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPost, path, nil, &record); err != nil {
				return err
			}
			if wantsJSON(cmd) {
				return printJSON(cmd.OutOrStdout(), record)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "change %d is undone on %s: %s was put back by change %d\n",
				record.Change, record.Layer, record, record.UndoneBy)
			return err
		},
	}
}
