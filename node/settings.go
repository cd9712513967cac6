package node

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"time"

	"redflag/api"
	"redflag/consensus/state"
	"redflag/durable"
	"redflag/telemetry"
)

// settingsView is the settings with their schema, so that a caller needs no
// knowledge of its own.
type settingsView struct {
	api.Settings
	Specs []api.SettingSpec `json:"specs"`
}

func (n *Node) showSettings(*http.Request) (any, error) {
	return settingsView{Settings: n.state().Settings(), Specs: api.SettingSpecs}, nil
}

func (n *Node) changeSettings(r *http.Request) (any, error) {
	var req api.SettingsChange
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	res, err := n.propose(r.Context(), state.TypeChangeSettings, state.ChangeSettings{Values: req.Values, By: "operator"})
	if err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("settings changed", "values", req.Values, "index", res.Index)
	return n.showSettings(r)
}

// followSettings applies the replicated settings to this process as they change.
func (n *Node) followSettings(ctx context.Context) error {
	version := uint64(0)
	for {
		if s := n.state().Settings(); s.Version != version {
			version = s.Version
			n.applyCaps(caps{Upload: s.Rate(api.SettingNodeUpload), Download: s.Rate(api.SettingNodeDownload)})
			telemetry.SetDebug(n.log, n.cfg.Debug || s.Bool(api.SettingDebug))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// caps are this node's own limits, kept in a file: after a start the swarm
// serves before the replicated settings may have been heard again.
type caps struct {
	Upload   api.Rate `json:"upload"`
	Download api.Rate `json:"download"`
}

func (n *Node) applyCaps(c caps) {
	n.uploadCap.SetRate(c.Upload)
	n.downloadCap.SetRate(c.Download)
	b, err := json.Marshal(c)
	if err == nil {
		err = durable.WriteFile(n.path("caps.json"), b, 0o600)
	}
	if err != nil {
		n.log.Warn("caps not kept", telemetry.KeyError, err)
	}
}

func (n *Node) restoreCaps() {
	var c caps
	if b, err := os.ReadFile(n.path("caps.json")); err == nil && json.Unmarshal(b, &c) == nil {
		n.uploadCap.SetRate(c.Upload)
		n.downloadCap.SetRate(c.Download)
	}
}
