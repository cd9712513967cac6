package api

import "time"

// Agent is an enrolled machine. The fields above the line are replicated; the
// ones below are soft state of its last poll.
type Agent struct {
	ID         string            `json:"id" cbor:"1,keyasint"`
	Region     string            `json:"region" cbor:"2,keyasint"`
	Labels     map[string]string `json:"labels,omitempty" cbor:"3,keyasint,omitempty"`
	EnrolledAt time.Time         `json:"enrolled_at" cbor:"4,keyasint"`
	// KeyID is the SHA-256 of the agent's public key (SubjectPublicKeyInfo),
	// lower-case hex. A certificate for another key is refused.
	KeyID string `json:"key_id" cbor:"5,keyasint"`
	// Machine is a hash of the machine's own id, empty where it has none.
	Machine string `json:"machine,omitempty" cbor:"40,keyasint,omitempty"`
	// RevokedAt is when the agent was put out; zero while it is a member.
	RevokedAt time.Time `json:"revoked_at,omitzero" cbor:"41,keyasint,omitzero"`

	Presence *Presence `json:"presence,omitempty" cbor:"-"`
	// Inventory is what the last scan found; listings leave it out.
	Inventory *Inventory `json:"inventory,omitempty" cbor:"-"`
}

// Presence is what a node remembers of an agent's last poll. It is not
// replicated: the node that answers a listing asks the others.
type Presence struct {
	AgentID   string      `json:"agent_id"`
	Node      string      `json:"node"`
	LastPoll  time.Time   `json:"last_poll"`
	Activity  Activity    `json:"activity"`
	Version   string      `json:"version"` // of the agent binary
	Installed []Installed `json:"installed,omitempty"`
	Progress  []Progress  `json:"progress,omitempty"`
	Readiness *Readiness  `json:"readiness,omitempty"`
	Machine   Machine     `json:"machine,omitzero"`
	// Waiting says why commands were not handed out with the last poll.
	Waiting []Waiting `json:"waiting,omitempty"`
}

// Machine is what signed constraints on the machines of a payload are held against,
// as the machine itself says. Nothing that the cluster does changes it.
type Machine struct {
	OS   string `json:"os,omitempty"` // as Go names it, and Arch too
	Arch string `json:"arch,omitempty"`
	// Labels are those that it enrolled with, or was given on the spot since. The
	// cluster's labels of the agent, by which selectors go, may be others.
	Labels map[string]string `json:"labels,omitempty"`
}

// Validate returns a CodeInvalid error for what no machine says of itself.
func (m *Machine) Validate() error {
	for _, word := range []string{m.OS, m.Arch} {
		if word != "" {
			if err := CheckID("machine", word); err != nil {
				return err
			}
		}
	}
	return CheckLabels(m.Labels)
}

// Waiting is why a command is not handed out to an agent yet.
type Waiting struct {
	CommandID string `json:"command_id"`
	Reason    string `json:"reason"`
}

// Activity is what an agent is busy with; it decides the next poll.
type Activity string

// What an agent can be busy with.
const (
	ActivityIdle        Activity = "idle"
	ActivityDownloading Activity = "downloading"
	ActivityInstalling  Activity = "installing"
	ActivityFailing     Activity = "failing"
	ActivityDegraded    Activity = "degraded" // the machine cannot do its work, see Readiness
)

// Installed is an artifact on a machine.
type Installed struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	SHA256   string `json:"sha256"`
	Previous string `json:"previous,omitempty"` // version a rollback would go to
}

// Progress is soft state of a running command.
type Progress struct {
	CommandID string   `json:"command_id"`
	Phase     Phase    `json:"phase"`
	Transfer  Transfer `json:"transfer"`
}

// Report is a step of a command that an agent has taken. It waits in the
// agent's journal until a node acknowledges it.
type Report struct {
	// ID is unique per agent; a node that gets it twice counts it once.
	ID        string    `json:"id" cbor:"1,keyasint"`
	CommandID string    `json:"command_id" cbor:"2,keyasint"`
	State     State     `json:"state" cbor:"3,keyasint"`
	At        time.Time `json:"at" cbor:"4,keyasint"` // the agent's clock
	Failure   *Failure  `json:"failure,omitempty" cbor:"5,keyasint,omitempty"`
	Transfer  *Transfer `json:"transfer,omitempty" cbor:"6,keyasint,omitempty"`
	// Log is what the execution left behind, with a terminal state.
	Log *ExecutionLog `json:"log,omitempty" cbor:"7,keyasint,omitempty"`
	// CancelRefused is set when the agent was asked to cancel and goes on: why.
	CancelRefused string `json:"cancel_refused,omitempty" cbor:"8,keyasint,omitempty"`
	// Inventory is what a scan found.
	Inventory *Inventory `json:"inventory,omitempty" cbor:"9,keyasint,omitempty"`
}

// MaxReports is how many reports one poll may carry.
const MaxReports = 64

// PollRequest is everything that an agent tells a node, in one request.
type PollRequest struct {
	AgentVersion string      `json:"agent_version"`
	Activity     Activity    `json:"activity"`
	Installed    []Installed `json:"installed,omitempty"`
	// Held names the commands in the agent's journal that have not ended. A
	// command that was leased and is not held got lost with a reply: the node
	// hands it out again under the same id.
	Held            []string   `json:"held,omitempty"`
	Reports         []Report   `json:"reports,omitempty"`
	Progress        []Progress `json:"progress,omitempty"`
	Readiness       *Readiness `json:"readiness,omitempty"`
	Machine         Machine    `json:"machine,omitzero"`
	LastIndex       uint64     `json:"last_index"`
	SettingsVersion uint64     `json:"settings_version"`
	Trust           TrustSeen  `json:"trust,omitzero"`
	Incidents       []Incident `json:"incidents,omitempty"`
	// Swarms accounts for the payloads that moved lately.
	Swarms []SwarmMember `json:"swarms,omitempty"`
}

// RejectedReport is a report that will never be accepted. The agent drops it.
type RejectedReport struct {
	ID    string `json:"id"`
	Error *Error `json:"error"`
}

// PollResponse is everything that a node tells an agent.
type PollResponse struct {
	Commands []Command        `json:"commands,omitempty"`
	Accepted []string         `json:"accepted,omitempty"`
	Rejected []RejectedReport `json:"rejected,omitempty"`
	// Cancel names commands that the agent holds and that nobody wants any
	// more. The agent answers each with a report: cancelled, or that it goes on.
	Cancel   []string `json:"cancel,omitempty"`
	NextPoll Duration `json:"next_poll"`
	// Now is the node's time, by which deadlines of commands are meant.
	Now   time.Time  `json:"now,omitzero"`
	Nodes []NodeAddr `json:"nodes"`
	Index uint64     `json:"index"`
	// Settings is set when the agent's settings version is not the current one.
	Settings *AgentSettings `json:"settings,omitempty"`
	// Trust is set when the agent's trust is not the current one.
	Trust *TrustNews `json:"trust,omitempty"`
}

// AgentSettings is what the replicated settings mean for one agent.
type AgentSettings struct {
	Version       uint64 `json:"version"`
	Debug         bool   `json:"debug"`
	DownloadLimit Rate   `json:"download_limit"`
	UploadLimit   Rate   `json:"upload_limit"`
	// Values are the settings of an agent's scope that differ from their
	// defaults, all layers considered.
	Values map[SettingKey]string `json:"values,omitempty"`
}

// Settings returns the values to be read by key.
func (s AgentSettings) Settings() Settings { return Settings{Version: s.Version, Values: s.Values} }

// NewAgentSettings returns what effective settings mean for an agent.
func NewAgentSettings(s Settings) AgentSettings {
	out := AgentSettings{
		Version: s.Version, Debug: s.Bool(SettingDebug),
		DownloadLimit: s.Rate(SettingAgentDownload), UploadLimit: s.Rate(SettingAgentUpload),
		Values: map[SettingKey]string{},
	}
	for k, v := range s.Values {
		if spec, ok := Spec(k); ok && (spec.Scope == ScopeAgent || spec.Scope == ScopeEvery) {
			out.Values[k] = v
		}
	}
	return out
}

// AnnounceRequest tells a tracker that the caller takes part in a swarm. The
// caller is who its certificate says.
type AnnounceRequest struct {
	Port int   `json:"port"` // where it accepts peers; the host is the one it calls from
	Left int64 `json:"left"` // bytes still missing, BEP 3
}

// SwarmPeer is a member of a swarm. ID and Role are bound to a certificate.
type SwarmPeer struct {
	ID   string `json:"id"`
	Node bool   `json:"node"`
	Addr string `json:"addr"` // host:port
	// SameSite says that the caller and the peer are in one local network.
	SameSite bool `json:"same_site,omitempty"`
}

// AnnounceResponse hands out peers.
type AnnounceResponse struct {
	Peers []SwarmPeer `json:"peers"`
	// Rank is the caller's place among the Size members of its region that
	// still miss pieces; it gives each its own order of pieces.
	Rank     int      `json:"rank"`
	Size     int      `json:"size"`
	Interval Duration `json:"interval"`
	// Lease is the caller's share of its site's budgets, if there are any.
	Lease *Lease `json:"lease,omitempty"`
}

// Lease is a share of the caps of a site. When For has passed without another
// one, the share is somebody else's.
type Lease struct {
	Download Rate     `json:"download"`
	Upload   Rate     `json:"upload"`
	For      Duration `json:"for"`
}

// LabelRequest changes an agent's labels. A key that is in both is set.
type LabelRequest struct {
	Set    map[string]string `json:"set,omitempty"`
	Remove []string          `json:"remove,omitempty"`
}
