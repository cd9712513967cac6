package consensus_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"redflag/api"
	"redflag/consensus"
	"redflag/consensus/consensustest"
	"redflag/consensus/state"
)

// write puts version n of the root metadata into the state. Versions must come
// in order, which shows a lost or doubled write.
func write(t *testing.T, c *consensus.Cluster, n int64) {
	t.Helper()
	root := &state.Metadata{Version: n, Bytes: fmt.Appendf(nil, "root %d", n)}
	put(t, c, state.RoleRoot, n, state.PutTrust{Root: root})
}

// writeLarge puts version n of the targets, 1 MB, of which few are kept.
func writeLarge(t *testing.T, c *consensus.Cluster, n int64) {
	t.Helper()
	targets := &state.Metadata{Version: n, Bytes: make([]byte, 1000<<10)}
	put(t, c, state.RoleTargets, n, state.PutTrust{Targets: targets})
}

// put repeats a change whose outcome is unknown until it is in the state: a
// repeat of what was committed conflicts, and that tells.
func put(t *testing.T, c *consensus.Cluster, role string, n int64, body state.PutTrust) {
	t.Helper()
	require.Eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		result, err := c.Propose(ctx, state.TypePutTrust, body)
		return err == nil && (result.Err() == nil || c.State().TrustVersions()[role] == n)
	}, 15*time.Second, 10*time.Millisecond, "write %s %d", role, n)
	require.GreaterOrEqual(t, c.State().TrustVersions()[role], n, "a node reads its own writes")
}

func requireEqualStates(t *testing.T, c *consensustest.Cluster, nodes ...int) {
	t.Helper()
	// The leader ticks, so equal indexes have to be caught at one moment.
	require.Eventually(t, func() bool {
		c.WaitConverged()
		hashes, indexes := map[string]bool{}, map[uint64]bool{}
		for _, i := range nodes {
			m := c.Node(i).State()
			before := m.Applied()
			hash, err := m.Hash()
			require.NoError(t, err)
			if m.Applied() != before {
				return false
			}
			hashes[string(hash)], indexes[before] = true, true
		}
		if len(indexes) > 1 {
			return false
		}
		require.Len(t, hashes, 1, "states differ at index %v", indexes)
		return true
	}, 15*time.Second, 10*time.Millisecond)
}

func TestElectProposeForward(t *testing.T) {
	c := consensustest.NewCluster(t, 3)
	for i := range 3 {
		write(t, c.Node(i), int64(i+1)) // two of them forward
	}
	requireEqualStates(t, c, 0, 1, 2)

	require.Eventually(t, func() bool {
		status := c.Node(c.Follower()).Status()
		return status.LeaderID == fmt.Sprintf("n%d", c.Leader()) && len(status.Voters) == 3 && !status.LastContact.IsZero()
	}, 10*time.Second, 10*time.Millisecond)
	require.Less(t, c.Node(c.Follower()).Stale(), time.Minute)
	require.ErrorIs(t, c.Node(0).Bootstrap(), consensus.ErrBootstrapped)
	require.True(t, c.Node(0).HasState())
	follower := c.Node(c.Follower())
	require.ErrorIs(t, follower.Join(t.Context(), "n9", "n9"), consensus.ErrNotLeader)
	require.ErrorIs(t, follower.Remove(t.Context(), "n9"), consensus.ErrNotLeader)

	// A refusal by the state machine crosses the mesh per record.
	require.Eventually(t, func() bool {
		result, err := follower.Propose(t.Context(), state.TypeLease, state.Lease{
			AgentID: "a1", CommandIDs: []string{"r1:a1", "nonsense"}, NodeID: "n1", Duration: time.Minute,
		})
		return err == nil && api.CodeOf(result.Errors[0]) == api.CodeNotFound && api.CodeOf(result.Errors[1]) == api.CodeInvalid
	}, 10*time.Second, 10*time.Millisecond)
}

func TestLeaderIsKilled(t *testing.T) {
	c := consensustest.NewCluster(t, 3)
	n := int64(0)
	for range 2 {
		leader := c.Leader()
		for range 5 {
			n++
			write(t, c.Node((leader+1)%3), n)
		}
		c.Kill(leader)
		for range 5 {
			n++
			write(t, c.Node((leader+1)%3), n)
		}
		c.Restart(leader)
		requireEqualStates(t, c, 0, 1, 2)
	}
	for i := range n {
		_, ok := c.Node(c.Follower()).State().TrustFile(fmt.Sprintf("%d.root.json", i+1))
		require.True(t, ok, "acknowledged write %d is lost", i+1)
	}
}

func TestCatchUpBySnapshot(t *testing.T) {
	c := consensustest.NewCluster(t, 3, func(cfg *consensus.Config) { cfg.SnapshotThreshold = 4 })
	write(t, c.Node(0), 1)
	behind := c.Follower()
	before := c.Node(behind).State().Applied()
	c.Kill(behind)
	leader := c.Leader()
	// The log store gives entries away as long as the file that holds them is
	// there, so there must be more than one.
	for n := int64(1); n <= 20; n++ {
		writeLarge(t, c.Node(leader), n)
	}
	for n := int64(2); n <= 30; n++ {
		write(t, c.Node(leader), n)
	}
	// Who lags would keep more of its log, and may lead by the time it is asked.
	alive := []int{(behind + 1) % 3, (behind + 2) % 3}
	requireEqualStates(t, c, alive...)
	for _, i := range alive {
		require.NoError(t, c.Node(i).Snapshot())
	}
	// The leader may have read entries for the follower before it gave them
	// away, and still be trying to send them: nothing in memory survives this.
	for _, i := range alive {
		c.Kill(i)
		c.Restart(i)
	}
	c.Leader()
	c.Restart(behind)
	require.LessOrEqual(t, c.Node(behind).State().Applied(), before)
	requireEqualStates(t, c, 0, 1, 2)
	_, ok := c.Node(behind).State().TrustFile("2.root.json")
	require.True(t, ok)
	installed, err := os.ReadDir(filepath.Join(c.Dir(behind), "snapshots"))
	require.NoError(t, err)
	require.NotEmpty(t, installed, "it caught up by the log")

	// And it goes on from there, through another crash.
	c.Kill(behind)
	c.Restart(behind)
	write(t, c.Node(behind), 31)
	requireEqualStates(t, c, 0, 1, 2)
}

func TestRestartOfAll(t *testing.T) {
	c := consensustest.NewCluster(t, 3)
	for n := int64(1); n <= 10; n++ {
		write(t, c.Node(0), n)
	}
	for i := range 3 {
		c.Kill(i)
	}
	for i := range 3 {
		c.Restart(i)
	}
	write(t, c.Node(0), 11)
	requireEqualStates(t, c, 0, 1, 2)
}

func TestWithoutMajority(t *testing.T) {
	c := consensustest.NewCluster(t, 3)
	leader := c.Leader()
	other := (leader + 1) % 3
	c.Isolate(leader)

	// The old leader cannot know whether the write survives it.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err := c.Node(leader).Propose(ctx, state.TypeTick, state.Tick{})
	require.Contains(t, []api.Code{api.CodeIndeterminate, api.CodeUnavailable}, api.CodeOf(err))
	write(t, c.Node(other), 1)
	c.Heal(leader)
	requireEqualStates(t, c, 0, 1, 2)

	// With both others down nobody leads, and nothing happens.
	third := (leader + 2) % 3
	c.Kill(leader)
	c.Kill(third)
	require.Eventually(t, func() bool { return !c.Node(other).IsLeader() }, 10*time.Second, 10*time.Millisecond)
	ctx, cancel = context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = c.Node(other).Propose(ctx, state.TypeTick, state.Tick{})
	require.Equal(t, api.CodeUnavailable, api.CodeOf(err))
}

func TestGracefulStopHandsOver(t *testing.T) {
	c := consensustest.NewCluster(t, 3)
	old := c.Leader()
	c.Stop(old)
	next := c.Leader()
	require.NotEqual(t, old, next)
	write(t, c.Node(next), 1)
	require.Eventually(t, func() bool {
		leader := c.Node(c.Leader())
		return leader.Remove(t.Context(), fmt.Sprintf("n%d", old)) == nil && len(leader.Status().Voters) == 2
	}, 10*time.Second, 10*time.Millisecond)
}

func TestRunOnLeader(t *testing.T) {
	c := consensustest.NewCluster(t, 3)
	ctx, cancel := context.WithCancel(t.Context())
	var running, runs atomic.Int32
	var wg sync.WaitGroup
	for i := range 3 {
		node := c.Node(i)
		wg.Go(func() {
			_ = node.RunOnLeader(ctx, func(ctx context.Context) error {
				running.Add(1)
				runs.Add(1)
				<-ctx.Done()
				running.Add(-1)
				return ctx.Err()
			})
		})
	}
	one := func() bool { return running.Load() == 1 }
	require.Eventually(t, one, 10*time.Second, 5*time.Millisecond)
	before := runs.Load()
	c.Kill(c.Leader())
	require.Eventually(t, func() bool { return runs.Load() > before && one() }, 10*time.Second, 5*time.Millisecond)
	cancel()
	wg.Wait()
	require.Zero(t, running.Load())

	failure := errors.New("controller failed")
	failed := make(chan error, 3)
	for i := range 3 {
		if node := c.Node(i); node != nil {
			go func() {
				failed <- node.RunOnLeader(t.Context(), func(context.Context) error { return failure })
			}()
		}
	}
	require.ErrorIs(t, <-failed, failure)
}

func TestRunOnLeaderEndsWithTheCluster(t *testing.T) {
	c := consensustest.NewCluster(t, 1)
	ended := make(chan error, 1)
	node := c.Node(0)
	go func() { ended <- node.RunOnLeader(t.Context(), func(context.Context) error { return nil }) }()
	c.Stop(0)
	require.ErrorIs(t, <-ended, consensus.ErrClosed)
	_, err := node.Propose(t.Context(), state.TypeTick, state.Tick{})
	require.Equal(t, api.CodeUnavailable, api.CodeOf(err))
}

func TestHandleForwardRefusesGarbage(t *testing.T) {
	c := consensustest.NewCluster(t, 1)
	node := c.Node(0)
	last := node.Status().LastIndex
	for _, body := range [][]byte{nil, []byte("hello"), make([]byte, consensus.MaxForward+1)} {
		answer, err := node.HandleForward(t.Context(), body)
		require.NoError(t, err)
		require.NotEmpty(t, answer)
	}
	require.LessOrEqual(t, node.Status().LastIndex, last+2, "garbage stays out of the log; only ticks get in")
	_, err := node.Propose(t.Context(), state.TypeTick, "no body")
	require.Error(t, err)
}

func TestOpenNeedsItsParts(t *testing.T) {
	_, err := consensus.Open(consensus.Config{NodeID: "n1"})
	require.Error(t, err)
}

// Concurrent writers on all nodes, one rank each: every acknowledged write is
// in the state of every node.
func TestConcurrentProposals(t *testing.T) {
	c := consensustest.NewCluster(t, 3)
	var wg sync.WaitGroup
	for i := range 3 {
		for k := range 20 {
			wg.Go(func() {
				body := state.CreateToken{
					Token:      api.Token{ID: fmt.Sprintf("t-%d-%d", i, k), Kind: api.TokenAgent, Seats: 1},
					SecretHash: make([]byte, 32), TTL: time.Hour,
				}
				for t.Context().Err() == nil { // repeated with the same id until it is certain
					result, err := c.Node(i).Propose(t.Context(), state.TypeCreateToken, body)
					if err == nil {
						assert.NoError(t, result.Err())
						return
					}
				}
			})
		}
	}
	wg.Wait()
	requireEqualStates(t, c, 0, 1, 2)
	require.Len(t, c.Node(c.Follower()).State().Tokens(), 60)
}

func TestStaleBeforeTheFirstTick(t *testing.T) {
	c := consensustest.NewCluster(t, 3)
	for i := range 3 {
		c.Kill(i)
	}
	c.Restart(0) // alone, it hears of no tick
	require.Equal(t, time.Duration(math.MaxInt64), c.Node(0).Stale())
}
