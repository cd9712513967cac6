package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"redflag/api"
)

type settingsView struct {
	api.Settings
	Layers []api.SettingValue `json:"layers"`
	Specs  []api.SettingSpec  `json:"specs"`
}

func newSettingsCommand() *cobra.Command {
	var agent, node string
	var layers bool
	cmd := &cobra.Command{
		Use:     "settings",
		GroupID: "steer",
		Short:   "Show settings, change them live for all or for some, undo changes",
		Long: `Show settings, change them live for all or for some, undo changes.

A setting can be set for the cluster, for a region, for the agents with a label,
for one agent and for one node. The narrower layer wins:
cluster < region < label < agent, and cluster < region < node.`,
		Example: `  redflag settings
  redflag settings --agent kiosk-17
  redflag settings set agent.download_limit=8mbit
  redflag settings set debug=true --agent kiosk-17 --for 1h
  redflag settings explain debug --agent kiosk-17`,
		Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := connect(cmd)
			if err != nil {
				return err
			}
			var view settingsView
			path := "/v1/settings?" + forWhom(agent, node).Encode()
			if err := client.Do(cmd.Context(), http.MethodGet, path, nil, &view); err != nil {
				return err
			}
			if layers && !wantsJSON(cmd) {
				return printLayers(cmd, view.Layers)
			}
			return printSettings(cmd, view)
		},
	}
	addClientFlags(cmd)
	cmd.PersistentFlags().Bool("json", false, "print JSON instead of a table")
	cmd.Flags().StringVar(&agent, "agent", "", "show what holds for this agent")
	cmd.Flags().StringVar(&node, "node", "", "show what holds for this node")
	cmd.Flags().BoolVar(&layers, "layers", false, "show what is set on every layer, by whom and until when")
	cmd.AddCommand(newSettingsSet(), newSettingsUnset(), newSettingsExplain(), newSettingsHistory(), newSettingsUndo())
	return cmd
}

// forWhom is the query that names an agent or a node.
func forWhom(agent, node string) url.Values {
	q := url.Values{}
	for name, v := range map[string]string{"agent": agent, "node": node} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return q
}

// layerFlags say on which layer a change is made.
type layerFlags struct {
	region, agent, node string
	labels              []string
}

func (f *layerFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.region, "region", "", "for the nodes and agents of this region only")
	cmd.Flags().StringArrayVar(&f.labels, "label", nil, "for agents with this label only, KEY=VALUE; several must all match")
	cmd.Flags().StringVar(&f.agent, "agent", "", "for this agent only")
	cmd.Flags().StringVar(&f.node, "node", "", "for this node only")
}

func (f *layerFlags) layer() (api.SettingsLayer, error) {
	var named []string
	for kind, name := range map[api.LayerKind]string{
		api.LayerRegion: f.region, api.LayerAgent: f.agent, api.LayerNode: f.node, api.LayerLabel: strings.Join(f.labels, ","),
	} {
		if name != "" {
			named = append(named, string(kind)+":"+name)
		}
	}
	switch len(named) {
	case 0:
		return api.SettingsLayer{}, nil
	case 1:
		return api.ParseSettingsLayer(named[0])
	default:
		return api.SettingsLayer{}, usageError{errors.New("--region, --label, --agent and --node exclude each other: a change is made on one layer")}
	}
}

func newSettingsSet() *cobra.Command {
	var on layerFlags
	var lasts time.Duration
	cmd := &cobra.Command{
		Use:   "set KEY=VALUE…",
		Short: "Change settings; nodes follow at once, agents with their next poll",
		Example: `  redflag settings set agent.upload_limit=2mbit poll.idle=30s
  redflag settings set agent.upload_limit=512kbit --region ap-south
  redflag settings set debug=true --label site=berlin --for 1h`,
		Args: atLeastOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			change := api.SettingsChange{Values: map[api.SettingKey]string{}, For: api.Duration(lasts)}
			for _, a := range args {
				k, v, ok := strings.Cut(a, "=")
				if !ok || v == "" {
					return usageError{fmt.Errorf("%q is not KEY=VALUE", a)}
				}
				change.Values[api.SettingKey(k)] = v
			}
			return changeSettings(cmd, change, on)
		},
	}
	on.add(cmd)
	cmd.Flags().DurationVar(&lasts, "for", 0, "go back by itself after this time (default: for good)")
	return cmd
}

func newSettingsUnset() *cobra.Command {
	var on layerFlags
	cmd := &cobra.Command{
		Use:   "unset KEY…",
		Short: "Take settings off a layer, so that a wider one or the default shows",
		Example: `  redflag settings unset agent.upload_limit
  redflag settings unset debug --agent kiosk-17`,
		Args: atLeastOneArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			change := api.SettingsChange{Values: map[api.SettingKey]string{}}
			for _, a := range args {
				change.Values[api.SettingKey(a)] = ""
			}
			return changeSettings(cmd, change, on)
		},
	}
	on.add(cmd)
	return cmd
}

func changeSettings(cmd *cobra.Command, change api.SettingsChange, on layerFlags) error {
	layer, err := on.layer()
	if err != nil {
		return err
	}
	change.Layer = layer
	client, err := connect(cmd)
	if err != nil {
		return err
	}
	path := "/v1/settings?" + forWhom(on.agent, on.node).Encode() // show what came of it
	var view settingsView
	if err := client.Do(api.WithCorrelation(cmd.Context(), ""), http.MethodPatch, path, change, &view); err != nil {
		return err
	}
	if layer.Kind != api.LayerCluster && layer.Kind != "" && !wantsJSON(cmd) {
		own := []api.SettingValue{}
		for _, v := range view.Layers {
			if v.Layer.String() == layer.String() {
				own = append(own, v)
			}
		}
		return printLayers(cmd, own)
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

func printLayers(cmd *cobra.Command, values []api.SettingValue) error {
	var rows [][]string
	for _, v := range values {
		rows = append(rows, layerRow(v))
	}
	return printTable(cmd.OutOrStdout(), "Nothing is set there: defaults and wider layers hold.",
		[]string{"LAYER", "SETTING", "VALUE", "SET BY", "WHEN", "UNTIL"}, rows)
}

func layerRow(v api.SettingValue) []string {
	until := "for good"
	if !v.Expires.IsZero() {
		until = v.Expires.Format(time.RFC3339)
	}
	return []string{v.Layer.String(), string(v.Key), v.Value, orDash(v.By), ago(v.At), until}
}
