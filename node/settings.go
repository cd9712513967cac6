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
// knowledge of its own. Values is the cluster's layer, or, for ?agent=ID and
// ?node=ID, what all layers together mean.
type settingsView struct {
	api.Settings
	Layers []api.SettingValue `json:"layers"`
	Specs  []api.SettingSpec  `json:"specs"`
}

func (n *Node) showSettings(r *http.Request) (any, error) {
	view := settingsView{Settings: n.state().Settings(), Layers: n.state().SettingsLayers(), Specs: api.SettingSpecs}
	target, some, err := n.settingsTarget(r)
	if err != nil {
		return nil, err
	}
	if some {
		view.Settings = n.state().SettingsFor(target)
	}
	return tagged{version: view.Version, value: view}, nil
}

// settingsTarget reads for whom settings are asked: one agent or one node.
func (n *Node) settingsTarget(r *http.Request) (t api.SettingsTarget, some bool, err error) {
	agent, node := r.URL.Query().Get("agent"), r.URL.Query().Get("node")
	switch {
	case agent != "" && node != "":
		return t, false, api.Errorf(api.CodeInvalid, "settings are for one agent or for one node").WithHint("name either")
	case agent != "":
		a, ok := n.state().Agent(agent)
		if !ok {
			return t, false, api.Errorf(api.CodeNotFound, "there is no agent %q", agent).WithHint("redflag agents")
		}
		return a.Target(), true, nil
	case node != "":
		m, ok := n.state().Node(node)
		if !ok {
			return t, false, api.Errorf(api.CodeNotFound, "there is no node %q", node).WithHint("redflag nodes")
		}
		return api.SettingsTarget{Node: m.ID, Region: m.Region}, true, nil
	default:
		return t, false, nil
	}
}

func (n *Node) changeSettings(r *http.Request) (any, error) {
	var req api.SettingsChange
	if err := body(r, &req); err != nil {
		return nil, err
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := ifMatch(r, &req.IfVersion); err != nil {
		return nil, err
	}
	res, err := n.propose(r.Context(), state.TypeEditSettings, state.EditSettings{
		Layer: req.Layer.String(), Values: req.Values, For: time.Duration(req.For), IfVersion: req.IfVersion,
		By: operator(r), CorrelationID: api.Correlation(r.Context()),
	})
	if err != nil {
		return nil, err
	}
	telemetry.For(r.Context(), n.log).Info("settings changed", "layer", req.Layer.String(), "values", req.Values, "index", res.Index)
	return n.showSettings(r)
}

// settings returns what the replicated settings mean for this node.
func (n *Node) settings() api.Settings {
	return n.state().SettingsFor(api.SettingsTarget{Node: n.cfg.ID, Region: n.cfg.Region})
}

// followSettings applies the replicated settings to this process as they change.
func (n *Node) followSettings(ctx context.Context) error {
	version := uint64(0)
	var applied caps
	for {
		s := n.settings()
		n.keep(s.Int(api.SettingPollConnections))
		n.mesh.expect(int(s.Int(api.SettingPollBudget)))
		down, up := s.Schedule(api.SettingNodeSchedule).At(time.Now())
		want := caps{Upload: s.Rate(api.SettingNodeUpload).Lower(up), Download: s.Rate(api.SettingNodeDownload).Lower(down)}
		if s.Version != version || want != applied {
			version, applied = s.Version, want
			n.applyCaps(want)
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
