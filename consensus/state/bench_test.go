package state

import (
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"redflag/api"
)

// crowd is a machine on real files with n agents in four regions.
func crowd(b *testing.B, n int) *rig {
	b.Helper()
	m, err := Open(b.TempDir())
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, m.Close()) })
	r := &rig{TB: b, Machine: m, now: epoch}
	r.must(token("t1", api.TokenAgent, 100_000, nil), artifact("app", "1.0.0", 1))
	for i := range n {
		r.must(enrol(agentName(i), fmt.Sprintf("region-%d", i%4), "t1", map[string]string{"role": "kiosk"}))
	}
	return r
}

func agentName(i int) string { return fmt.Sprintf("agent-%06d", i) }

// BenchmarkReports applies entries of 256 records; ns/op is per record.
func BenchmarkReports(b *testing.B) {
	const batch = 256
	r := crowd(b, batch)
	b.ResetTimer()
	for n := 0; n < b.N; n += 2 * batch {
		id := fmt.Sprintf("r%d", n)
		b.StopTimer()
		r.must(rollout(id, api.Selector{All: true}))
		for i := range batch {
			r.must(lease(agentName(i), api.CommandID(id, agentName(i))))
		}
		b.StartTimer()
		for _, s := range []api.State{api.StateRunning, api.StateSucceeded} {
			var e Reports
			for i := range batch {
				agent := agentName(i)
				e.Agents = append(e.Agents, AgentReports{agent, []api.Report{says(string(s), api.CommandID(id, agent), s)}})
			}
			r.must(e)
		}
	}
}

// BenchmarkRollout100k creates a rollout to 100,000 agents, lets every one of
// them poll, and writes a snapshot.
func BenchmarkRollout100k(b *testing.B) {
	const agents = 100_000
	r := crowd(b, agents)
	b.Run("create", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			r.must(rollout(fmt.Sprintf("r%d-%d", b.N, i), api.Selector{All: true}))
		}
	})
	for _, ro := range r.Rollouts()[1:] {
		r.must(CancelRollout{ro.ID})
	}
	b.Run("poll", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			require.Len(b, r.Pending(agentName(i%agents), nil, 0), 1)
		}
	})
	b.Run("snapshot", func(b *testing.B) {
		for b.Loop() {
			s, err := r.Snapshot()
			require.NoError(b, err)
			require.NoError(b, s.Write(io.Discard))
			require.NoError(b, s.Close())
		}
	})
	b.Run("reopen", func(b *testing.B) {
		for b.Loop() {
			_, err := loadIndex(r.db)
			require.NoError(b, err)
		}
	})
}
