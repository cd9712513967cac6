package api

import (
	"slices"
	"strconv"
	"time"
)

// SettingType says how a setting's value is written.
type SettingType string

// The types of a setting.
const (
	SettingBool     SettingType = "bool"
	SettingDuration SettingType = "duration"
	SettingRate     SettingType = "rate"
	SettingBytes    SettingType = "bytes"
	SettingInt      SettingType = "int"
	SettingText     SettingType = "text"
)

// SettingKey names a replicated setting.
type SettingKey string

// The settings that this version knows.
const (
	SettingDebug           SettingKey = "debug"
	SettingPollIdle        SettingKey = "poll.idle"
	SettingPollPending     SettingKey = "poll.pending"
	SettingPollDownloading SettingKey = "poll.downloading"
	SettingPollInstalling  SettingKey = "poll.installing"
	SettingPollFailing     SettingKey = "poll.failing"
	SettingPollDegraded    SettingKey = "poll.degraded"
	SettingPollBudget      SettingKey = "poll.budget"
	SettingPollConnections SettingKey = "poll.connections"
	SettingEnrolBudget     SettingKey = "enrol.budget"
	SettingHistoryAge      SettingKey = "history.age"
	SettingHistoryPerAgent SettingKey = "history.per_agent"
	SettingArchiveSize     SettingKey = "history.archive_size"
	SettingWindows         SettingKey = "maintenance.windows"
	SettingAgentDownload   SettingKey = "agent.download_limit"
	SettingAgentUpload     SettingKey = "agent.upload_limit"
	SettingNodeUpload      SettingKey = "node.upload_limit"
	SettingNodeDownload    SettingKey = "node.download_limit"
	SettingAgentSite       SettingKey = "agent.site_limit"
	SettingAgentYield      SettingKey = "agent.yield"
	SettingSiteDownload    SettingKey = "site.download_limit"
	SettingSiteUpload      SettingKey = "site.upload_limit"
	SettingAgentSchedule   SettingKey = "agent.schedule"
	SettingNodeSchedule    SettingKey = "node.schedule"
	SettingPayloadMax      SettingKey = "payload.max_size"
	SettingSwarmPlain      SettingKey = "swarm.plain"
	SettingPublishLevel    SettingKey = "publish.zstd_level"
	SettingPublishDeltas   SettingKey = "publish.deltas"
	SettingNodeRanges      SettingKey = "node.payload_ranges"
	SettingNodeCacheQuota  SettingKey = "node.cache_quota"
	SettingFallbackAfter   SettingKey = "agent.fallback_after"
	SettingFallbackRate    SettingKey = "agent.fallback_rate"
	SettingSeedRatio       SettingKey = "agent.seed_ratio"
	SettingSeedTime        SettingKey = "agent.seed_time"
	SettingSeedQuota       SettingKey = "agent.seed_quota"
	SettingSeedMetered     SettingKey = "agent.seed_metered"
	SettingPromoteAfter    SettingKey = "cluster.promote_after"
	SettingLeaderRegion    SettingKey = "cluster.leader_region"
	SettingLeaderAfter     SettingKey = "cluster.leader_after"
	SettingLeaderPause     SettingKey = "cluster.leader_pause"
	SettingRemoveDeadAfter SettingKey = "cluster.remove_dead_after"
	SettingMinVoters       SettingKey = "cluster.min_voters"
	SettingCertificateLife SettingKey = "trust.certificate_life"
)

// SettingScope says whom a setting is about, and so on which layers it can be
// set.
type SettingScope string

// The scopes of a setting.
const (
	// ScopeCluster is one value for all: the cluster layer only.
	ScopeCluster SettingScope = "cluster"
	// ScopeRegion can differ by region.
	ScopeRegion SettingScope = "region"
	// ScopeNode can differ by region and by node.
	ScopeNode SettingScope = "node"
	// ScopeAgent can differ by region, by label selector and by agent.
	ScopeAgent SettingScope = "agent"
	// ScopeEvery is about nodes and agents alike.
	ScopeEvery SettingScope = "every"
)

// The settings of the health checks, and of what they compare.
const (
	SettingClusterRaftTimeout SettingKey = "cluster.raft_timeout"
	SettingHealthDiskFree     SettingKey = "health.disk.min_free"
	SettingHealthFsync        SettingKey = "health.disk.max_fsync"
	SettingHealthClock        SettingKey = "health.clock.max_skew"
	SettingHealthExpiry       SettingKey = "health.certificates.warn_before"
	SettingHealthRaftLag      SettingKey = "health.raft.max_lag"
	SettingHealthPending      SettingKey = "health.queue.max_pending"
	SettingHealthFailing      SettingKey = "health.queue.max_failing_percent"
)

// The settings of the logs.
const (
	SettingLogRate           SettingKey = "log.agent_rate"
	SettingLogSpool          SettingKey = "log.spool_max"
	SettingLogRetentionAge   SettingKey = "log.retention_age"
	SettingLogRetentionBytes SettingKey = "log.retention_bytes"
)

var logSpecs = []SettingSpec{
	{Key: SettingLogRate, Type: SettingRate, Default: "256kbit", Min: "8kbit", Scope: ScopeAgent, Description: "bandwidth that an agent spends on handing in its log"},
	{Key: SettingLogSpool, Type: SettingBytes, Default: "32MiB", Min: "1MiB", Max: "100GiB", Scope: ScopeEvery, Description: "disk for log lines that no node has taken yet; beyond it the oldest go"},
	{Key: SettingLogRetentionAge, Type: SettingDuration, Default: "168h", Min: "1m", Max: "8784h", Scope: ScopeNode, Description: "how long a node keeps log lines"},
	{Key: SettingLogRetentionBytes, Type: SettingBytes, Default: "1GiB", Min: "16MiB", Max: "10TiB", Scope: ScopeNode, Description: "disk that a node's log store may take; beyond it the oldest lines go"},
}

// HealthChecks names the checks of a node, in the order that people read them.
// Each has a switch, see HealthSwitch.
var HealthChecks = []string{"raft", "gossip", "disk", "clock", "certificates", "version", "config", "swarm", "queue", "logs"}

// HealthSwitch is the setting that turns a check off.
func HealthSwitch(check string) SettingKey { return SettingKey("health." + check + ".enabled") }

func healthSpecs() []SettingSpec {
	specs := []SettingSpec{
		{Key: SettingClusterRaftTimeout, Type: SettingDuration, Default: "0s", Max: "1m", Scope: ScopeCluster, Description: "--raft-timeout that every node must be started with; one with another refuses to vote; 0s asks nothing"},
		{Key: SettingHealthDiskFree, Type: SettingBytes, Default: "256MiB", Min: "1MiB", Max: "1TiB", Scope: ScopeNode, Description: "free disk below which a node is critical; it warns below four times as much"},
		{Key: SettingHealthFsync, Type: SettingDuration, Default: "500ms", Min: "1ms", Max: "1m", Scope: ScopeNode, Description: "time of a synced write above which a node warns"},
		{Key: SettingHealthClock, Type: SettingDuration, Default: "1s", Min: "1ms", Max: "1h", Scope: ScopeNode, Description: "clock skew to most other nodes above which a node warns; it is critical at ten times as much"},
		{Key: SettingHealthExpiry, Type: SettingDuration, Default: "720h", Min: "1h", Max: "8784h", Scope: ScopeNode, Description: "time before the end of a certificate or of offline-signed metadata at which a node warns"},
		{Key: SettingHealthRaftLag, Type: SettingInt, Default: "1000", Min: "1", Max: "1000000000", Unit: "log entries", Scope: ScopeNode, Description: "entries behind the leader above which a node warns"},
		{Key: SettingHealthPending, Type: SettingDuration, Default: "24h", Min: "1s", Max: "8784h", Scope: ScopeCluster, Description: "age of a command that no agent has taken above which nodes warn"},
		{Key: SettingHealthFailing, Type: SettingInt, Default: "10", Min: "0", Max: "100", Unit: "percent", Scope: ScopeCluster, Description: "share of failed commands of a running rollout above which nodes warn"},
	}
	for _, name := range HealthChecks {
		specs = append(specs, SettingSpec{
			Key: HealthSwitch(name), Type: SettingBool, Default: "true", Scope: ScopeNode, Description: "whether the health check " + name + " runs",
		})
	}
	return append(specs, logSpecs...)
}

// SettingSpec describes one setting: what it affects, its default and range.
type SettingSpec struct {
	Key         SettingKey   `json:"key"`
	Type        SettingType  `json:"type"`
	Default     string       `json:"default"`
	Min         string       `json:"min,omitempty"`
	Max         string       `json:"max,omitempty"`
	Scope       SettingScope `json:"scope"`
	Description string       `json:"description"` // what it affects
	// Unit is how a value is written.
	Unit string `json:"unit"`
	// Check refuses values of a SettingText that are not of its form.
	Check func(value string) error `json:"-"`
}

// SettingSpecs is the schema, in the order that people read it.
var SettingSpecs = withUnits(append([]SettingSpec{
	{Key: SettingDebug, Type: SettingBool, Default: "false", Scope: ScopeEvery, Description: "debug lines in the logs of nodes and agents"},
	{Key: SettingPollIdle, Type: SettingDuration, Default: "60s", Min: "1s", Max: "24h", Scope: ScopeAgent, Description: "poll interval of an agent with nothing to do"},
	{Key: SettingPollPending, Type: SettingDuration, Default: "5s", Min: "100ms", Max: "1h", Scope: ScopeAgent, Description: "poll interval when a command waits for the agent"},
	{Key: SettingPollDownloading, Type: SettingDuration, Default: "10s", Min: "100ms", Max: "1h", Scope: ScopeAgent, Description: "poll interval while an agent downloads"},
	{Key: SettingPollInstalling, Type: SettingDuration, Default: "5s", Min: "100ms", Max: "1h", Scope: ScopeAgent, Description: "poll interval while an agent installs"},
	{Key: SettingPollFailing, Type: SettingDuration, Default: "10s", Min: "100ms", Max: "1h", Scope: ScopeAgent, Description: "poll interval of an agent whose last command failed; it doubles up to poll.idle"},
	{Key: SettingPollDegraded, Type: SettingDuration, Default: "60s", Min: "1s", Max: "24h", Scope: ScopeAgent, Description: "poll interval of an agent whose machine is in trouble"},
	{Key: SettingPollBudget, Type: SettingInt, Default: "1000", Min: "1", Max: "100000", Scope: ScopeNode, Unit: "polls per second", Description: "how many polls a node answers; the intervals of its agents stretch to stay below"},
	{Key: SettingPollConnections, Type: SettingInt, Default: "10000", Min: "0", Max: "1000000", Scope: ScopeNode, Unit: "connections", Description: "how many connections of agents a node keeps open from poll to poll, each of which takes tens of KB; the others resume their TLS session"},
	{Key: SettingEnrolBudget, Type: SettingInt, Default: "200", Min: "1", Max: "10000", Scope: ScopeNode, Unit: "enrolments per second", Description: "how many requests to enrol or to renew an expired certificate a node looks at"},
	{Key: SettingHistoryAge, Type: SettingDuration, Default: "2160h", Min: "1h", Max: "87600h", Scope: ScopeCluster, Description: "how long ended commands stay in the replicated state"},
	{Key: SettingHistoryPerAgent, Type: SettingInt, Default: "100", Min: "1", Max: "10000", Scope: ScopeCluster, Description: "how many ended commands of each agent stay in the replicated state"},
	{Key: SettingArchiveSize, Type: SettingBytes, Default: "256MiB", Min: "16MiB", Max: "1TiB", Scope: ScopeNode, Description: "disk for archived commands on a node"},
	{Key: SettingWindows, Type: SettingText, Unit: unitOfWindows, Check: checkWindows, Scope: ScopeAgent, Description: "when commands that change a machine may be handed out to it, beside the windows of their rollout; empty for always"},
	{Key: SettingAgentDownload, Type: SettingRate, Default: "unlimited", Min: "64kbit", Scope: ScopeAgent, Description: "swarm download cap of each agent, on the wire"},
	{Key: SettingAgentUpload, Type: SettingRate, Default: "unlimited", Min: "64kbit", Scope: ScopeAgent, Description: "swarm upload cap of each agent, on the wire"},
	{Key: SettingNodeUpload, Type: SettingRate, Default: "unlimited", Min: "64kbit", Scope: ScopeNode, Description: "swarm upload cap of each node, on the wire"},
	{Key: SettingNodeDownload, Type: SettingRate, Default: "unlimited", Min: "64kbit", Scope: ScopeNode, Description: "swarm download cap of each node, on the wire"},
	{Key: SettingAgentSite, Type: SettingRate, Default: "unlimited", Min: "64kbit", Scope: ScopeAgent, Description: "swarm cap of each agent, each way, to agents of its own site (the same /24 or /64); the other caps leave these out"},
	{Key: SettingAgentYield, Type: SettingBool, Default: "false", Scope: ScopeAgent, Description: "whether an agent's swarm yields to other traffic on its machine's link: when round trips to its node grow, or its interface is full of other bytes, it lowers its own caps for as long"},
	{Key: SettingSiteDownload, Type: SettingRate, Default: "unlimited", Min: "1mbit", Scope: ScopeAgent, Description: "swarm download cap of each site (/24 or /64), shared by its active agents"},
	{Key: SettingSiteUpload, Type: SettingRate, Default: "unlimited", Min: "1mbit", Scope: ScopeAgent, Description: "swarm upload cap of each site (/24 or /64), shared by its active agents"},
	{Key: SettingAgentSchedule, Type: SettingText, Unit: unitOfSchedule, Check: checkSchedule, Scope: ScopeAgent, Description: "caps of each agent by the hour; the stricter of these and the fixed ones counts"},
	{Key: SettingNodeSchedule, Type: SettingText, Unit: unitOfSchedule, Check: checkSchedule, Scope: ScopeNode, Description: "caps of each node by the hour; the stricter of these and the fixed ones counts"},
	{Key: SettingPayloadMax, Type: SettingBytes, Default: "16GiB", Min: "1KiB", Max: "1TiB", Scope: ScopeCluster, Description: "largest payload that may be published"},
	{Key: SettingSwarmPlain, Type: SettingBool, Default: "false", Scope: ScopeCluster, Description: "whether nodes with --plain-listen give payloads to standard BitTorrent clients: to anybody, without TLS"},
	{Key: SettingPublishLevel, Type: SettingInt, Default: "3", Min: "0", Max: "22", Scope: ScopeCluster, Description: "zstd level at which redflag publish packs payloads and deltas; 0 sends them as they are"},
	{Key: SettingPublishDeltas, Type: SettingInt, Default: "1", Min: "0", Max: "32", Scope: ScopeCluster, Unit: "versions", Description: "how many of the newest versions redflag publish makes deltas from, where they are smaller"},
	{Key: SettingNodeRanges, Type: SettingInt, Default: "16", Min: "0", Max: "10000", Scope: ScopeNode, Unit: "requests", Description: "payload ranges that a node serves over HTTPS at once to agents that the swarm does not serve; 0 serves none"},
	{Key: SettingNodeCacheQuota, Type: SettingBytes, Default: "0B", Max: "1024TiB", Scope: ScopeNode, Description: "disk for payloads on a node; beyond it those that were used least lately go, but none that a rollout needs and no only copy; 0 for no limit"},
	{Key: SettingFallbackAfter, Type: SettingDuration, Default: "15s", Min: "0s", Max: "24h", Scope: ScopeAgent, Description: "how long the swarm may be slower than agent.fallback_rate before an agent fetches from its node over HTTPS besides; 0s for never"},
	{Key: SettingFallbackRate, Type: SettingRate, Default: "256kbit", Min: "8kbit", Max: "1gbit", Scope: ScopeAgent, Description: "rate below which the swarm is too slow for an agent, or half of the agent's cap if that is less"},
	{Key: SettingSeedRatio, Type: SettingInt, Default: "0", Min: "0", Max: "1000000", Unit: "percent", Scope: ScopeAgent, Description: "how much of a payload's size an agent gives to others after it has the whole, counted since the agent started; 0 for no limit"},
	{Key: SettingSeedTime, Type: SettingDuration, Default: "0s", Min: "0s", Max: "8784h", Scope: ScopeAgent, Description: "how long an agent gives a payload to others after it has fetched it; 0s for no limit"},
	{Key: SettingSeedQuota, Type: SettingBytes, Default: "0B", Max: "1024TiB", Scope: ScopeAgent, Description: "disk for payloads that an agent has installed and keeps for others; beyond it the oldest go ten minutes after they were fetched; 0 for no limit"},
	{Key: SettingSeedMetered, Type: SettingBool, Default: "false", Scope: ScopeAgent, Description: "whether an agent gives payloads to others over a link on which bytes cost, as --metered or NetworkManager says"},
	{Key: SettingPromoteAfter, Type: SettingDuration, Default: "10s", Min: "0s", Max: "1h", Scope: ScopeCluster, Description: "how long a new node must be healthy and caught up before it votes"},
	{Key: SettingLeaderRegion, Type: SettingText, Default: "", Scope: ScopeCluster, Description: "region that the leader should be in; empty for any", Check: checkRegionOrNone},
	{Key: SettingLeaderAfter, Type: SettingDuration, Default: "60s", Min: "0s", Max: "24h", Scope: ScopeCluster, Description: "how long a voter of that region must be healthy before it is made leader"},
	{Key: SettingLeaderPause, Type: SettingDuration, Default: "10m", Min: "0s", Max: "24h", Scope: ScopeCluster, Description: "least time between two such moves"},
	{Key: SettingRemoveDeadAfter, Type: SettingDuration, Default: "0s", Min: "0s", Max: "8760h", Scope: ScopeCluster, Description: "how long a node may be dead before it is removed from the cluster; 0s for never"},
	{Key: SettingMinVoters, Type: SettingInt, Default: "3", Min: "1", Max: "9", Scope: ScopeCluster, Description: "voters that such a removal must leave"},
	{Key: SettingCertificateLife, Type: SettingDuration, Default: "168h", Min: "10s", Max: "8784h", Scope: ScopeCluster, Description: "life of a node's or an agent's certificate; it is renewed at two thirds"},
}, slices.Concat(healthSpecs(), poolSpecs, regionSpecs, otlpSpecs)...))

const unitOfSchedule = "hours, such as mon-fri 08:00-18:00 Europe/Berlin down=2mbit up=1mbit"

const unitOfWindows = "windows, such as mon-fri 22:00-04:00 Europe/Berlin; sat,sun 00:00-24:00"

func checkWindows(value string) error {
	_, err := ParseWindows(value)
	return err
}

func checkSchedule(value string) error {
	_, err := ParseSchedule(value)
	return err
}

var unitOfType = map[SettingType]string{
	SettingBool:     "true or false",
	SettingDuration: "a duration, such as 30s or 5m",
	SettingRate:     "bits per second, such as 8mbit, or unlimited",
	SettingBytes:    "bytes, such as 512MiB",
	SettingInt:      "a whole number",
	SettingText:     "text",
}

func withUnits(specs []SettingSpec) []SettingSpec {
	for i := range specs {
		if specs[i].Unit == "" {
			specs[i].Unit = unitOfType[specs[i].Type]
		}
	}
	return specs
}

// Spec returns the schema of a key.
func Spec(key SettingKey) (SettingSpec, bool) {
	for _, s := range SettingSpecs {
		if s.Key == key {
			return s, true
		}
	}
	return SettingSpec{}, false
}

// CheckSetting returns a CodeInvalid error when value cannot be key's.
func CheckSetting(key SettingKey, value string) error {
	spec, ok := Spec(key)
	if !ok {
		return Errorf(CodeInvalid, "setting %q is not known", key).WithHint("redflag settings lists them")
	}
	if spec.Type == SettingText {
		return spec.checkText(value)
	}
	v, err := spec.number(value)
	if err != nil {
		return Errorf(CodeInvalid, "setting %s: %v", key, err)
	}
	if spec.Type == SettingRate && v == 0 {
		return nil // unlimited is always in range
	}
	if lo, _ := spec.number(spec.Min); spec.Min != "" && v < lo {
		return Errorf(CodeInvalid, "setting %s: %s is below the minimum of %s", key, value, spec.Min)
	}
	if hi, _ := spec.number(spec.Max); spec.Max != "" && v > hi {
		return Errorf(CodeInvalid, "setting %s: %s is above the maximum of %s", key, value, spec.Max)
	}
	return nil
}

func checkRegionOrNone(value string) error {
	if value == "" {
		return nil
	}
	return CheckID("region", value)
}

// MaxSettingValue bounds a value, in bytes.
const MaxSettingValue = 4 << 10

func (s SettingSpec) checkText(value string) error {
	if len(value) > MaxSettingValue {
		return Errorf(CodeInvalid, "setting %s: %d bytes are too many", s.Key, len(value)).WithHint("use %d at most", MaxSettingValue)
	}
	if s.Check == nil {
		return nil
	}
	if err := s.Check(value); err != nil {
		return Errorf(CodeInvalid, "setting %s: %v", s.Key, err)
	}
	return nil
}

func (s SettingSpec) number(value string) (int64, error) {
	switch s.Type {
	case SettingBool:
		b, err := strconv.ParseBool(value)
		if err != nil {
			return 0, Errorf(CodeInvalid, "%q is neither true nor false", value)
		}
		if b {
			return 1, nil
		}
		return 0, nil
	case SettingDuration:
		var d Duration
		err := d.UnmarshalText([]byte(value))
		return int64(d), err
	case SettingRate:
		r, err := ParseRate(value)
		return int64(r), err
	case SettingInt:
		v, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, Errorf(CodeInvalid, "%q is not a whole number", value)
		}
		return v, nil
	case SettingText:
		return 0, nil
	default:
		b, err := ParseBytes(value)
		return int64(b), err
	}
}

// Settings is the replicated settings at one version, as one layer has them or
// as all layers together mean them for one node or agent. A key that is not in
// Values has its default.
type Settings struct {
	Version uint64                `json:"version"` // log index of the last change
	Values  map[SettingKey]string `json:"values"`
}

// Get returns the value of key as text.
func (s Settings) Get(key SettingKey) string {
	if v, ok := s.Values[key]; ok {
		return v
	}
	spec, _ := Spec(key)
	return spec.Default
}

func (s Settings) number(key SettingKey) int64 {
	spec, _ := Spec(key)
	v, err := spec.number(s.Get(key))
	if err != nil { // an older version's value: the default still works
		v, _ = spec.number(spec.Default)
	}
	return v
}

// Bool returns the value of a SettingBool.
func (s Settings) Bool(key SettingKey) bool { return s.number(key) != 0 }

// Duration returns the value of a SettingDuration.
func (s Settings) Duration(key SettingKey) time.Duration { return time.Duration(s.number(key)) }

// Rate returns the value of a SettingRate.
func (s Settings) Rate(key SettingKey) Rate { return Rate(s.number(key)) }

// Schedule returns the value of a setting that holds one.
func (s Settings) Schedule(key SettingKey) Schedule {
	v, err := ParseSchedule(s.Get(key))
	if err != nil { // a newer version's value: no hours are better than wrong ones
		return Schedule{}
	}
	return v
}

// Windows returns the value of a setting that holds some, and false for one that
// this version does not understand.
func (s Settings) Windows(key SettingKey) ([]Window, bool) {
	w, err := ParseWindows(s.Get(key))
	return w, err == nil
}

// Bytes returns the value of a SettingBytes.
func (s Settings) Bytes(key SettingKey) int64 { return s.number(key) }

// Int returns the value of a SettingInt.
func (s Settings) Int(key SettingKey) int64 { return s.number(key) }
