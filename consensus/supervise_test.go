package consensus_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus"
	"redflag/consensus/consensustest"
	"redflag/consensus/state"
)

// crew is a cluster whose leader supervises it, as a node's leader does.
type crew struct {
	*consensustest.Cluster
	t      *testing.T
	policy atomic.Pointer[consensus.Policy]
	rounds atomic.Int64 // in which the leader looked at everybody

	mu      sync.Mutex
	members map[string]*consensus.Member
	removed []string
}

// supervised starts n voters. Nodes are in regions of their own names.
func supervised(t *testing.T, n int, policy consensus.Policy) *crew {
	t.Helper()
	f := &crew{Cluster: consensustest.NewCluster(t, n), t: t, members: map[string]*consensus.Member{}}
	f.policy.Store(&policy)
	for i := range n {
		f.enrol(i, false)
		f.supervise(i)
	}
	return f
}

func (f *crew) enrol(i int, nonVoter bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := consensustest.Name(i)
	f.members[id] = &consensus.Member{ID: id, Addr: id, Region: id, Alive: true, NonVoter: nonVoter}
}

func (f *crew) change(i int, how func(*consensus.Member)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	how(f.members[consensustest.Name(i)])
}

// supervise runs what node.lead does whenever a node leads.
func (f *crew) supervise(i int) {
	node := f.Node(i)
	ctx, cancel := context.WithCancel(f.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = node.RunOnLeader(ctx, func(ctx context.Context) error {
			node.Supervise(ctx, f.supervision(ctx, i))
			return nil
		})
	})
	f.t.Cleanup(func() { cancel(); wg.Wait() })
}

func (f *crew) supervision(ctx context.Context, i int) consensus.Supervision {
	return consensus.Supervision{
		Members: func() []consensus.Member {
			f.mu.Lock()
			defer f.mu.Unlock()
			var out []consensus.Member
			for _, m := range f.members {
				out = append(out, *m)
			}
			return out
		},
		Policy: func() consensus.Policy { f.rounds.Add(1); return *f.policy.Load() },
		Stats: func(_ context.Context, m consensus.Member) (consensus.Stats, error) {
			k, err := strconv.Atoi(strings.TrimPrefix(m.ID, "n"))
			if err != nil {
				return consensus.Stats{}, err
			}
			if node := f.Node(k); node != nil && f.Reachable(i, k) {
				return node.Stats(), nil
			}
			return consensus.Stats{}, errors.New("it does not answer")
		},
		Remove: func(id string) {
			f.mu.Lock()
			delete(f.members, id)
			f.removed = append(f.removed, id)
			f.mu.Unlock()
			go func() { _ = f.Node(i).Remove(ctx, id) }()
		},
	}
}

// look waits until the leader has looked at everybody a few times more.
func (f *crew) look() {
	f.t.Helper()
	until := f.rounds.Load() + 40
	f.eventually(func() bool { return f.rounds.Load() >= until }, "nobody supervises")
}

func (f *crew) eventually(ok func() bool, why string) {
	f.t.Helper()
	require.Eventually(f.t, ok, 30*time.Second, 10*time.Millisecond, why)
}

// votes reports whether a node votes in the leader's eyes.
func (f *crew) votes(i int) bool {
	for _, v := range f.Node(f.Leader()).Status().Voters {
		if v.ID == consensustest.Name(i) {
			return true
		}
	}
	return false
}

// A new node votes when it was healthy for long enough, and not before.
func TestPromotionWaitsForStability(t *testing.T) {
	t.Parallel()
	const promoteAfter = 1500 * time.Millisecond
	f := supervised(t, 3, consensus.Policy{PromoteAfter: promoteAfter})
	silent, sound := f.Add(), f.Add()
	f.Isolate(silent)
	joined := time.Now()
	for _, i := range []int{silent, sound} {
		f.enrol(i, false)
		require.NoError(t, f.Node(f.Leader()).JoinNonVoter(t.Context(), consensustest.Name(i), consensustest.Name(i)))
	}
	f.eventually(func() bool { return f.votes(sound) }, "the sound node never votes")
	require.GreaterOrEqual(t, time.Since(joined), promoteAfter)
	f.look()
	require.False(t, f.votes(silent), "nobody has heard of it")
	healed := time.Now()
	f.Heal(silent)
	f.eventually(func() bool { return f.votes(silent) }, "it never votes")
	require.GreaterOrEqual(t, time.Since(healed), promoteAfter)
}

// The dead are removed while enough voters are left, and no further.
func TestDeadNodesAreRemovedButNotTheQuorum(t *testing.T) {
	t.Parallel()
	f := supervised(t, 4, consensus.Policy{RemoveDeadAfter: time.Second, MinVoters: 3})
	first := f.Follower()
	f.change(first, func(m *consensus.Member) { m.Alive = false })
	f.look()
	require.True(t, f.votes(first), "gossip alone removes nobody")
	f.Kill(first)
	f.eventually(func() bool { return !f.votes(first) }, "the dead node stays")
	second := f.Follower()
	f.change(second, func(m *consensus.Member) { m.Alive = false })
	f.Kill(second)
	leader := f.Leader()
	f.look()
	require.True(t, f.votes(second), "only two voters would be left")
	require.Equal(t, []string{consensustest.Name(first)}, f.removed)
	write(t, f.Node(leader), 1) // two of three are a majority
}

// A node without a vote holds the state, answers what polls ask, and passes
// changes on; it is never promoted, and never leads.
func TestNonVoterServesAndNeverVotes(t *testing.T) {
	t.Parallel()
	f := supervised(t, 3, consensus.Policy{})
	replica := f.Add()
	f.enrol(replica, true)
	require.NoError(t, f.Node(f.Leader()).JoinNonVoter(t.Context(), consensustest.Name(replica), consensustest.Name(replica)))
	seedRollout(t, f.Node(f.Leader()))
	gate := func(*api.Command, *api.Plan, int64) string { return "" }
	due := func() int {
		commands, _ := f.Node(replica).State().Due("a1", nil, time.Now(), gate, 8)
		return len(commands)
	}
	f.eventually(func() bool { return due() == 1 }, "the replica does not know the command")
	result, err := f.Node(replica).Propose(t.Context(), state.TypeLease, state.Lease{
		AgentID: "a1", CommandIDs: []string{"r1:a1"}, NodeID: "n1", Duration: time.Hour,
	})
	require.NoError(t, err)
	require.NoError(t, result.Err())
	f.look()
	require.False(t, f.votes(replica))

	demoted := f.Follower()
	f.change(demoted, func(m *consensus.Member) { m.NonVoter = true })
	f.eventually(func() bool { return !f.votes(demoted) }, "it still votes")
	f.change(demoted, func(m *consensus.Member) { m.NonVoter = false })
	f.eventually(func() bool { return f.votes(demoted) }, "it never votes again")

	for i := range 3 {
		f.Kill(i)
	}
	before := f.Node(replica).Status().Term
	f.eventually(func() bool { return f.Node(replica).Status().LeaderID == "" }, "it still sees a leader")
	require.Equal(t, before, f.Node(replica).Status().Term, "it stands for nothing")
	require.False(t, f.Node(replica).IsLeader())
	command, ok := f.Node(replica).State().Command("r1:a1")
	require.True(t, ok, "it goes on answering")
	require.Equal(t, api.StateLeased, command.State)
}

// The leader moves to its region, and not again too soon.
func TestLeaderMovesToItsRegion(t *testing.T) {
	t.Parallel()
	f := supervised(t, 3, consensus.Policy{LeaderAfter: 300 * time.Millisecond, LeaderPause: time.Hour})
	old, wanted := f.Leader(), f.Follower()
	prefer := func(i int) {
		policy := *f.policy.Load()
		policy.LeaderRegion = consensustest.Name(i)
		f.policy.Store(&policy)
	}
	prefer(wanted)
	f.eventually(func() bool { return f.Leader() == wanted }, "the leader stays where it was")
	write(t, f.Node(wanted), 1)
	require.NoError(t, f.Node(wanted).TransferLeadership(t.Context(), consensustest.Name(old)))
	f.eventually(func() bool { return f.Leader() == old }, "an operator moves it back")
	f.look()
	require.Equal(t, old, f.Leader(), "this node has given it away within the hour")
}

// seedRollout makes one agent with one command.
func seedRollout(t *testing.T, leader *consensus.Cluster) {
	t.Helper()
	commit := mustCommit(leader)
	benchPublish(commit, 1)
	enrol := benchEnrol(0)
	enrol.Agent.ID = "a1"
	commit(state.TypeEnrolAgent, enrol)
	rollout := benchRollout(0)
	rollout.ID = "r1"
	commit(state.TypeCreateRollout, rollout)
}
