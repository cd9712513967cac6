package api

import (
	"strconv"
	"strings"
	"time"
)

// The settings of the agent pool: the machines that carry out what a server
// operation needs a machine for.
const (
	SettingPoolMembers SettingKey = "pool.members"
	SettingPoolPolicy  SettingKey = "pool.policy"
	SettingPoolLease   SettingKey = "pool.lease"
)

var poolSpecs = []SettingSpec{
	{Key: SettingPoolMembers, Type: SettingText, Default: "label:pool=server", Scope: ScopeCluster, Unit: "a selector, such as label:pool=server or region:eu", Check: checkSelector, Description: "agents that carry out server operations"},
	{Key: SettingPoolPolicy, Type: SettingText, Default: "nearest", Scope: ScopeCluster, Unit: "nearest, least_loaded or pinned:AGENT", Check: checkPoolPolicy, Description: "which of them is chosen; a pinned one that is silent is replaced by the least loaded"},
	{Key: SettingPoolLease, Type: SettingDuration, Default: "2m", Min: "1s", Max: "24h", Scope: ScopeCluster, Description: "silence after which a server operation goes to another agent"},
}

func checkSelector(value string) error {
	_, err := ParseSelector(strings.Fields(value)...)
	return err
}

// The policies of a pool.
const (
	PoolNearest     = "nearest"
	PoolLeastLoaded = "least_loaded"
	poolPinned      = "pinned:"
)

// PoolPinned returns the agent that a policy pins.
func PoolPinned(policy string) (agent string, ok bool) { return strings.CutPrefix(policy, poolPinned) }

func checkPoolPolicy(value string) error {
	if agent, ok := PoolPinned(value); ok {
		return CheckID("agent", agent)
	}
	if value != PoolNearest && value != PoolLeastLoaded {
		return Errorf(CodeInvalid, "pool policy %.64q is not known", value).WithHint("use nearest, least_loaded or pinned:ID")
	}
	return nil
}

// PoolMember is an agent of the pool as it is now, the one that would be chosen
// first.
type PoolMember struct {
	Agent    string    `json:"agent"`
	Region   string    `json:"region"`
	LastPoll time.Time `json:"last_poll,omitzero"`
	Load     *int      `json:"load_percent,omitempty"`
	// Unfit is why the agent is not chosen now.
	Unfit string `json:"unfit,omitempty"`
}

// Pool is the pool of agents for a region.
type Pool struct {
	Policy   string       `json:"policy"`
	Selector string       `json:"selector"`
	Lease    Duration     `json:"lease"`
	Members  []PoolMember `json:"members"`
}

// PoolTask is a server operation that an agent of the pool carries out. Every
// agent that is tried gets a rollout of its own.
type PoolTask struct {
	ID       string       `json:"id"`
	Kind     Kind         `json:"kind"`
	Artifact string       `json:"artifact,omitempty"`
	Version  string       `json:"version,omitempty"`
	State    RolloutState `json:"state"`
	Agent    string       `json:"agent"` // that has it now
	Rollout  string       `json:"rollout"`
	Attempts int          `json:"attempts"` // agents so far
	// Outcome is the state of the agent's command.
	Outcome   State     `json:"outcome"`
	CreatedAt time.Time `json:"created_at"`
}

// PoolTaskRequest hands an operation to the pool. The caller names the id, so
// that a repeat is harmless.
type PoolTaskRequest struct {
	ID       string `json:"id"`
	Kind     Kind   `json:"kind"`
	Artifact string `json:"artifact,omitempty"`
	Version  string `json:"version,omitempty"`
	// Region is where the work should be near to; empty for where it is asked.
	Region string `json:"region,omitempty"`
}

// Validate returns a CodeInvalid error for a request that cannot be carried out.
func (r *PoolTaskRequest) Validate() error {
	if !ValidID(r.ID) || len(r.ID) > MaxIDLength/2 || strings.Contains(r.ID, ".") {
		return Errorf(CodeInvalid, "task id %.80q is not a valid name", r.ID).WithHint("use up to %d letters, digits, '_' or '-'", MaxIDLength/2)
	}
	if r.Region != "" {
		if err := CheckID("region", r.Region); err != nil {
			return err
		}
	}
	return r.Kind.CheckSubject(r.Artifact, r.Version)
}

const poolPrefix = "pool."

// PoolRollout names the rollout of a task's nth agent, counting from 1.
func PoolRollout(task string, n int) string { return poolPrefix + task + "." + strconv.Itoa(n) }

// SplitPoolRollout is the inverse of PoolRollout.
func SplitPoolRollout(id string) (task string, n int, ok bool) {
	rest, ok := strings.CutPrefix(id, poolPrefix)
	task, count, ok2 := strings.Cut(rest, ".")
	n, err := strconv.Atoi(count)
	return task, n, ok && ok2 && err == nil && n > 0 && PoolRollout(task, n) == id
}
