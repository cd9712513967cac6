package node

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"redflag/api"
	"redflag/regions/gossip"
	"redflag/trust/pki"
)

// swarmExpiry is how long a node remembers an agent's account of a payload.
const swarmExpiry = 24 * time.Hour

// swarms remembers what agents said of the payloads that they fetch and give.
// It is soft state: lost on restart, and back as far as agents still speak of it.
type swarms struct {
	mu     sync.Mutex
	byHash map[string]map[string]api.SwarmMember // by info hash and agent
}

func newSwarms() *swarms { return &swarms{byHash: map[string]map[string]api.SwarmMember{}} }

func (s *swarms) take(id pki.Identity, accounts []api.SwarmMember, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range accounts {
		m.ID, m.Region, m.Node, m.Seen = id.ID, id.Region, false, now
		if s.byHash[m.InfoHash] == nil {
			s.byHash[m.InfoHash] = map[string]api.SwarmMember{}
		}
		s.byHash[m.InfoHash][id.ID] = m
	}
}

func (s *swarms) of(hash string) map[string]api.SwarmMember {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.byHash[hash])
}

// sweep forgets old accounts.
func (s *swarms) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, members := range s.byHash {
		maps.DeleteFunc(members, func(_ string, m api.SwarmMember) bool { return now.Sub(m.Seen) > swarmExpiry })
		if len(members) == 0 {
			delete(s.byHash, hash)
		}
	}
}

// swarmHere returns this node's own account of a payload and those of the
// agents that poll it.
func (n *Node) swarmHere(hash string) map[string]api.SwarmMember {
	members := n.swarms.of(hash)
	if s, ok := n.swarm.Stats(hash); ok {
		if members == nil {
			members = map[string]api.SwarmMember{}
		}
		members[n.cfg.ID] = api.SwarmMember{
			InfoHash: hash, ID: n.cfg.ID, Region: n.cfg.Region, Node: true, Seen: time.Now().UTC(),
			Transfer: s.Transfer, Wasted: s.Wasted, Corrupt: s.Corrupt, Peers: s.Peers, Sources: s.Sources,
			Took:     api.Duration(s.Took),
			Download: api.SwarmRate{Cap: n.downloadCap.Rate()}, Upload: api.SwarmRate{Cap: n.uploadCap.Rate()},
		}
	}
	return members
}

func (n *Node) meshSwarm(r *http.Request) (any, error) { return n.swarmHere(r.PathValue("hash")), nil }

// swarmEverywhere asks every living node at once; a silent one is left out.
func (n *Node) swarmEverywhere(ctx context.Context, hash string) map[string]api.SwarmMember {
	merged := n.swarmHere(hash)
	if merged == nil {
		merged = map[string]api.SwarmMember{}
	}
	var mu sync.Mutex
	n.eachOther(ctx, func(ctx context.Context, m gossip.Member) {
		var theirs map[string]api.SwarmMember
		if err := n.meshClient(m.MeshAddr).Do(ctx, http.MethodGet, "/v1/mesh/swarms/"+hash, nil, &theirs); err != nil {
			n.log.Debug("swarm not answered", "other", m.ID, "error", err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for id, v := range theirs {
			if have, ok := merged[id]; !ok || have.Seen.Before(v.Seen) {
				merged[id] = v
			}
		}
	})
	return merged
}

// showSwarm tells who has what of a rollout's payload, and who gives to whom.
func (n *Node) showSwarm(r *http.Request) (any, error) {
	rollout, err := n.rollout(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	artifact, ok := n.state().Artifact(rollout.Artifact, rollout.Version)
	if !ok {
		return nil, api.Errorf(api.CodeNotFound, "rollout %s brings no payload", rollout.ID).
			WithHint("a swarm moves the payloads of install rollouts: redflag rollout list")
	}
	s := api.Swarm{
		RolloutID: rollout.ID, Artifact: artifact.Name, Version: artifact.Version,
		InfoHash: artifact.InfoHash, Length: artifact.Length, Agents: rollout.Agents,
	}
	for _, m := range n.swarmEverywhere(r.Context(), artifact.InfoHash) {
		s.Members = append(s.Members, m)
		if m.Node {
			s.NodeCopies += float64(m.Transfer.ToPeers) / float64(artifact.Length)
			continue
		}
		s.Bytes.Add(m.BySource())
		s.Makespan = max(s.Makespan, m.Took)
	}
	slices.SortFunc(s.Members, func(a, b api.SwarmMember) int {
		return cmp.Or(-cmp.Compare(btoi(a.Node), btoi(b.Node)), cmp.Compare(a.Region, b.Region), cmp.Compare(a.ID, b.ID))
	})
	s.Bound = boundOf(s.Length, s.Members)
	return s, nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// boundOf is how long it takes at least to bring length bytes to all agents
// under the caps of the machines, if bytes were a fluid (Kumar and Ross,
// 2006). What is not capped takes no time; 0 is no bound.
func boundOf(length int64, members []api.SwarmMember) api.Duration {
	var nodes, all, slowest api.Rate
	agents, open, nodesOpen := 0, false, false
	for _, m := range members {
		open = open || m.Upload.Cap == api.Unlimited
		all += m.Upload.Cap
		if m.Node {
			nodesOpen = nodesOpen || m.Upload.Cap == api.Unlimited
			nodes += m.Upload.Cap
			continue
		}
		agents++
		slowest = slowest.Lower(m.Download.Cap)
	}
	bound := 0.0
	at := func(bytes int64, r api.Rate, capped bool) {
		if capped && r > 0 {
			bound = max(bound, float64(bytes)/r.BytesPerSecond())
		}
	}
	at(length, slowest, slowest != api.Unlimited)
	at(length, nodes, !nodesOpen)
	at(length*int64(agents), all, !open)
	return api.Duration(bound * float64(time.Second))
}
