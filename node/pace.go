package node

import (
	"math/rand/v2"
	"sync"
	"time"

	"redflag/api"
)

const (
	// overload is how far above its budget a node still answers: agents that
	// come at once, after another node went down, have not been paced yet.
	overload = 2
	// paceMemory is after how many intervals an agent no longer counts.
	paceMemory = 3
)

// pace spreads the polls of a node's agents so that they stay inside a budget.
// It knows how often each agent would poll by itself, and stretches every
// interval by as much as all of them together exceed the budget.
type pace struct {
	mu     sync.Mutex
	agents map[string]paced
	demand float64 // polls per second of all agents, not stretched
	limit  liveRate
}

// paced is one agent as the pace sees it.
type paced struct {
	base    time.Duration
	until   time.Time // it counts until then
	failing int       // polls in a row that said so, since it got a command
}

func newPace() *pace {
	return &pace{agents: map[string]paced{}}
}

// admit refuses a poll, with the time to come back, while far too many come.
func (p *pace) admit(budget int) error {
	if p.limit.of(overload * budget).Allow() {
		return nil
	}
	err := api.Errorf(api.CodeRateLimited, "this node is asked more often than it can answer").
		WithHint("ask another node, or raise %s", api.SettingPollBudget)
	err.RetryAfter = api.Duration(time.Second + rand.N(4*time.Second))
	return err
}

// next returns when an agent shall poll again.
func (p *pace) next(agentID string, s api.Settings, budget int, activity api.Activity, handedOut, waits bool, now time.Time) api.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.agents[agentID]
	if a.failing++; handedOut || activity != api.ActivityFailing {
		a.failing = 0
	}
	base := interval(s, activity, handedOut, waits, a.failing)
	stretched := time.Duration(float64(base) * p.stretchLocked(agentID, base, budget))
	a.base, a.until = base, now.Add(paceMemory*stretched)
	p.setLocked(agentID, a)
	return api.Duration(stretched/2 + rand.N(stretched))
}

// stretchLocked is by how much intervals grow, at least 1.
func (p *pace) stretchLocked(agentID string, base time.Duration, budget int) float64 {
	demand := p.demand + 1/base.Seconds()
	if have, ok := p.agents[agentID]; ok {
		demand -= 1 / have.base.Seconds()
	}
	return max(1, demand/float64(budget))
}

// load is the share of the budget that the agents of this node ask for, in
// percent.
func (p *pace) load(budget int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(100 * p.demand / float64(budget))
}

func (p *pace) setLocked(agentID string, a paced) {
	if have, ok := p.agents[agentID]; ok {
		p.demand -= 1 / have.base.Seconds()
	}
	p.agents[agentID] = a
	p.demand += 1 / a.base.Seconds()
}

// sweep forgets agents that went elsewhere. The sum is made anew, so that
// rounding does not add up.
func (p *pace) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demand = 0
	for id, a := range p.agents {
		if now.After(a.until) {
			delete(p.agents, id)
			continue
		}
		p.demand += 1 / a.base.Seconds()
	}
}

// interval is how often an agent polls when there is no lack of anything.
func interval(s api.Settings, activity api.Activity, handedOut, waits bool, failing int) time.Duration {
	key := api.SettingPollIdle
	switch {
	case handedOut:
		key = api.SettingPollPending
	case activity == api.ActivityDownloading:
		key = api.SettingPollDownloading
	case activity == api.ActivityInstalling:
		key = api.SettingPollInstalling
	case activity == api.ActivityFailing: // soon, then as rarely as one that is well: an operator's retry is not late
		base := s.Duration(api.SettingPollFailing)
		return max(base, min(base<<min(failing-1, 20), s.Duration(api.SettingPollIdle)))
	case activity == api.ActivityDegraded:
		key = api.SettingPollDegraded
	case waits: // for a window, a wave or its machine: it may come soon, and need not be now
		return max(s.Duration(api.SettingPollPending), min(s.Duration(api.SettingPollIdle), waitingInterval))
	}
	return s.Duration(key)
}

// pollBudget is how many polls per second this node is to answer.
func (n *Node) pollBudget() int {
	return int(n.settings().Int(api.SettingPollBudget))
}

// waitingInterval is how often an agent asks for a command that is kept back.
const waitingInterval = 15 * time.Second
