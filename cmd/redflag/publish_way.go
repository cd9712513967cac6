package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"redflag/api"
	"redflag/payload/pack"
)

// wayFlags say how a payload is made shorter on the way. What is not given is
// the cluster's to say.
type wayFlags struct {
	level, deltas int
	from          []string
}

func (w *wayFlags) add(f *pflag.FlagSet) {
	f.IntVar(&w.level, "zstd", 0, "zstd level for the payload and its deltas, 1 to 22; 0 packs nothing (default: the setting publish.zstd_level)")
	f.IntVar(&w.deltas, "deltas", 0, "make deltas from this many of the newest versions (default: the setting publish.deltas)")
	f.StringArrayVar(&w.from, "delta-from", nil, "make a delta from this version; may be repeated")
}

// complete asks the cluster for what no flag says.
func (w *wayFlags) complete(cmd *cobra.Command, client *api.Client) error {
	if err := pack.CheckLevel(w.level); err != nil {
		return usageError{err}
	}
	if w.deltas < 0 || w.deltas > api.MaxDeltas {
		return usageError{fmt.Errorf("--deltas %d is not from 0 to %d", w.deltas, api.MaxDeltas)}
	}
	level, deltas := cmd.Flags().Changed("zstd"), cmd.Flags().Changed("deltas")
	if level && deltas {
		return nil
	}
	var s api.Settings
	if err := client.Do(cmd.Context(), http.MethodGet, "/v1/settings", nil, &s); err != nil {
		return err
	}
	if !level {
		w.level = int(s.Int(api.SettingPublishLevel))
	}
	if !deltas {
		w.deltas = int(s.Int(api.SettingPublishDeltas))
	}
	return nil
}

// onTheWay says what agents fetch of an artifact, where that is less.
func onTheWay(a api.Artifact) string {
	var ways []string
	if a.Coding != nil {
		ways = append(ways, fmt.Sprintf("%s packed", api.Bytes(a.Length)))
	}
	for _, d := range a.Deltas {
		ways = append(ways, fmt.Sprintf("%s from %s", api.Bytes(d.Length), d.FromVersion))
	}
	if len(ways) == 0 {
		return ""
	}
	return " (" + strings.Join(ways, ", ") + ")"
}
