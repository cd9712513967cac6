package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"redflag/api"
)

type settingsView struct {
	api.Settings
	Specs []api.SettingSpec `json:"specs"`
}

func newSettingsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "settings",
		GroupID: "steer",
		Short:   "Show the cluster's settings, or change them live",
		Example: `  redflag settings
  redflag settings set agent.download_limit=8mbit debug=true
  redflag settings unset debug`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var view settingsView
			if err := client.Do(cmd.Context(), http.MethodGet, "/v1/settings", nil, &view); err != nil {
				return err
			}
			return printSettings(cmd, view)
		},
	}
	addClientFlags(cmd)
	cmd.PersistentFlags().Bool("json", false, "print JSON instead of a table")
	cmd.AddCommand(
		&cobra.Command{
			Use:     "set KEY=VALUE…",
			Short:   "Change settings; nodes follow at once, agents with their next poll",
			Example: "  redflag settings set agent.upload_limit=2mbit poll.idle=30s",
			Args:    atLeastOneArg,
			RunE: func(cmd *cobra.Command, args []string) error {
				change := api.SettingsChange{Values: map[api.SettingKey]string{}}
				for _, a := range args {
					k, v, ok := strings.Cut(a, "=")
					if !ok || v == "" {
						return usageError{fmt.Errorf("%q is not KEY=VALUE", a)}
					}
					change.Values[api.SettingKey(k)] = v
				}
				return changeSettings(cmd, change)
			},
		},
		&cobra.Command{
			Use:     "unset KEY…",
			Short:   "Put settings back to their defaults",
			Example: "  redflag settings unset agent.upload_limit",
			Args:    atLeastOneArg,
			RunE: func(cmd *cobra.Command, args []string) error {
				change := api.SettingsChange{Values: map[api.SettingKey]string{}}
				for _, a := range args {
					change.Values[api.SettingKey(a)] = ""
				}
				return changeSettings(cmd, change)
			},
		},
	)
	return cmd
}

func changeSettings(cmd *cobra.Command, change api.SettingsChange) error {
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	var view settingsView
	if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPatch, "/v1/settings", change, &view); err != nil {
		return err
	}
	return printSettings(cmd, view)
}

func printSettings(cmd *cobra.Command, view settingsView) error {
	if wantsJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), view)
	}
	var rows [][]string
	for _, s := range view.Specs {
		mark := ""
		if _, set := view.Values[s.Key]; set {
			mark = "*"
		}
		rows = append(rows, []string{string(s.Key), view.Get(s.Key) + mark, s.Default, s.Description})
	}
	return printTable(cmd.OutOrStdout(), "No settings.", []string{"SETTING", "VALUE", "DEFAULT", "AFFECTS"}, rows)
}
