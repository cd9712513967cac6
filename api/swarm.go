package api

import "time"

const (
	// MaxSwarms is how many payloads one poll gives an account of.
	MaxSwarms = 4
	// MaxSources is how many peers an account names.
	MaxSources = 16
)

// SwarmMember is what a machine says of its part in the swarm of one payload,
// in payload bytes since its process opened it.
type SwarmMember struct {
	InfoHash string `json:"info_hash"`
	// The node that takes the account fills these in.
	ID     string    `json:"id,omitempty"`
	Region string    `json:"region,omitempty"`
	Node   bool      `json:"node,omitempty"`
	Seen   time.Time `json:"seen,omitzero"`

	Transfer Transfer `json:"transfer"`
	// FromSite is the part of Transfer.FromPeers that came from the same site.
	FromSite int64 `json:"from_site"`
	// Wasted came more than once; Corrupt belonged to pieces that failed their
	// hash.
	Wasted  int64 `json:"wasted"`
	Corrupt int64 `json:"corrupt"`
	Peers   int   `json:"peers"` // connected
	// Sources are the peers that gave most, the first one the most.
	Sources []SwarmSource `json:"sources,omitempty"`
	// Took is the time since it began, until it was complete.
	Took     Duration  `json:"took"`
	Download SwarmRate `json:"download"`
	Upload   SwarmRate `json:"upload"`
}

// Complete reports whether the member has the whole payload.
func (m *SwarmMember) Complete() bool {
	return m.Transfer.Total > 0 && m.Transfer.Done == m.Transfer.Total
}

// SwarmSource is a peer that gave a part of a payload.
type SwarmSource struct {
	ID    string `json:"id"`
	Node  bool   `json:"node,omitempty"`
	Bytes int64  `json:"bytes"`
}

// SwarmRate is the payload rate of a machine, and the cap that it is under, on
// the wire.
type SwarmRate struct {
	Now Rate `json:"now"`
	Cap Rate `json:"cap"`
}

// Swarm is who has what of a rollout's payload, and who gives to whom.
type Swarm struct {
	RolloutID string        `json:"rollout_id"`
	Artifact  string        `json:"artifact"`
	Version   string        `json:"version"`
	InfoHash  string        `json:"info_hash"`
	Length    int64         `json:"length"`
	Agents    int           `json:"agents"`  // of the rollout
	Members   []SwarmMember `json:"members"` // nodes first
	// Bytes adds up the agents' payload bytes by where they came from.
	Bytes SwarmBytes `json:"bytes"`
	// NodeCopies is what the nodes sent, in payloads.
	NodeCopies float64 `json:"node_copies"`
	// Makespan is the time of the slowest agent so far; Bound is how long it
	// takes at least under the caps, zero where these are open.
	Makespan Duration `json:"makespan"`
	Bound    Duration `json:"bound,omitempty"`
}

// SwarmBytes counts payload bytes by the class of their source.
type SwarmBytes struct {
	Site         int64 `json:"site"`
	Region       int64 `json:"region"`
	Node         int64 `json:"node"`
	OtherRegions int64 `json:"other_regions"`
	// HTTPS came in ranges from a node, where the swarm was too slow.
	HTTPS   int64 `json:"https"`
	Wasted  int64 `json:"wasted"`
	Corrupt int64 `json:"corrupt"`
}

// BySource returns the member's bytes by class.
func (m *SwarmMember) BySource() SwarmBytes {
	t := m.Transfer
	return SwarmBytes{
		Site: m.FromSite, Region: max(0, t.FromPeers-m.FromSite), Node: max(0, t.FromNodes-t.FromOtherRegions),
		OtherRegions: t.FromOtherRegions, HTTPS: t.FromFallback, Wasted: m.Wasted, Corrupt: m.Corrupt,
	}
}

// Add adds another machine's bytes.
func (b *SwarmBytes) Add(o SwarmBytes) {
	b.Site += o.Site
	b.Region += o.Region
	b.Node += o.Node
	b.OtherRegions += o.OtherRegions
	b.HTTPS += o.HTTPS
	b.Wasted += o.Wasted
	b.Corrupt += o.Corrupt
}
