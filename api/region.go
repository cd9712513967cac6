package api

import "time"

// The settings of each region's coordinator: the one node that fetches payloads
// from other regions for its own.
const (
	SettingCoordinator      SettingKey = "region.coordinator"
	SettingCoordinatorLease SettingKey = "region.coordinator_lease"
)

var regionSpecs = []SettingSpec{
	{Key: SettingCoordinator, Type: SettingText, Default: PoolNearest, Scope: ScopeRegion, Unit: "nearest, least_loaded or pinned:NODE", Check: checkPoolPolicy, Description: "which living node fetches a region's payloads across regions; one of the region goes before all others, and a pinned one that is silent is replaced by the nearest"},
	{Key: SettingCoordinatorLease, Type: SettingDuration, Default: "15s", Min: "2s", Max: "1h", Scope: ScopeRegion, Description: "silence after which another node takes a region over"},
}

// Coordinator is the node that a region's lease is with.
type Coordinator struct {
	Region string    `json:"region" cbor:"1,keyasint"`
	Node   string    `json:"node" cbor:"2,keyasint"`
	Since  time.Time `json:"since" cbor:"3,keyasint"`
	Until  time.Time `json:"until" cbor:"4,keyasint"` // unless the lease is renewed
	// Changes counts how often the region got another coordinator, the first
	// one included.
	Changes uint64 `json:"changes" cbor:"5,keyasint"`
}

// Region is where machines are near to each other.
type Region struct {
	Name   string `json:"name"`
	Nodes  int    `json:"nodes"`
	Alive  int    `json:"alive"` // nodes of these that gossip
	Agents int    `json:"agents"`
	// Policy is region.coordinator as it is set for the region, and Lease how
	// long a silent coordinator keeps it.
	Policy string   `json:"policy"`
	Lease  Duration `json:"lease"`
	// Coordinator has the region's lease; absent while nobody has.
	Coordinator *Coordinator `json:"coordinator,omitempty"`
	// StandIn says that the coordinator is of another region, for want of a
	// living node here.
	StandIn bool `json:"stand_in,omitempty"`
	// Acting fetches for the region at this moment: the coordinator or, while
	// no lease runs, the living node of the region with the lowest id. Empty
	// where there is neither.
	Acting string `json:"acting,omitempty"`
}
