package api

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// The settings of the export to an OpenTelemetry collector. Credentials are none
// of them: everybody who may look at settings would see them.
const (
	SettingOTLPEndpoint SettingKey = "otlp.endpoint"
	SettingOTLPSignals  SettingKey = "otlp.signals"
	SettingOTLPInterval SettingKey = "otlp.metrics_interval"
)

var otlpSpecs = []SettingSpec{
	{Key: SettingOTLPEndpoint, Type: SettingText, Scope: ScopeNode, Unit: "a base URL, such as https://collector.example.org:4318", Check: checkOTLPEndpoint, Description: "OpenTelemetry collector that nodes export to by OTLP/HTTP; empty for none. What must be secret is given to each node by --otlp-headers"},
	{Key: SettingOTLPSignals, Type: SettingText, Default: strings.Join(otlpSignals, ","), Scope: ScopeNode, Unit: "any of logs, metrics, traces, with commas", Check: checkOTLPSignals, Description: "what nodes export; logs are their own lines and those of the agents that poll them"},
	{Key: SettingOTLPInterval, Type: SettingDuration, Default: "60s", Min: "1s", Max: "1h", Scope: ScopeNode, Description: "time between two exports of a node's metrics"},
}

var otlpSignals = []string{"logs", "metrics", "traces"}

func checkOTLPEndpoint(value string) error {
	if value == "" {
		return nil
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return Errorf(CodeInvalid, "the collector's address is not a URL").WithHint("for example https://collector.example.org:4318")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Errorf(CodeInvalid, "the collector's address holds more than a host and a path").
			WithHint("settings can be read by every operator: start the nodes with --otlp-headers instead")
	}
	if ip := net.ParseIP(u.Hostname()); u.Scheme == "http" && !strings.EqualFold(u.Hostname(), "localhost") && (ip == nil || !ip.IsLoopback()) {
		return Errorf(CodeInvalid, "plain HTTP is for a collector on the node's own host").WithHint("use https://, with --otlp-ca where its CA is your own")
	}
	return nil
}

func checkOTLPSignals(value string) error {
	for s := range strings.SplitSeq(value, ",") {
		if !slices.Contains(otlpSignals, strings.TrimSpace(s)) {
			return Errorf(CodeInvalid, "signal %.32q is not known", s).WithHint("use any of %s", strings.Join(otlpSignals, ","))
		}
	}
	return nil
}
