package api

// AgentSummary counts the agents that a selector picks.
type AgentSummary struct {
	Agents int `json:"agents"`
	// Online is how many of them polled lately: the last three polls of an idle
	// agent, and some patience.
	Online  int           `json:"online"`
	Regions []AgentCounts `json:"regions"`
}

// AgentCounts counts the agents of one region.
type AgentCounts struct {
	Region     string           `json:"region"`
	Agents     int              `json:"agents"`
	Online     int              `json:"online"`
	Activities map[Activity]int `json:"activities,omitempty"` // of those online
}
