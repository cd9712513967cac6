package agent

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// Ten thousand agents whose cluster was away for a while do not come back
// together: no second sees more than a few times what their waits spread over.
func TestNoThunderingHerd(t *testing.T) {
	const agents = 10_000
	for _, outage := range []time.Duration{10 * time.Second, time.Minute} {
		t.Run(outage.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				var mu sync.Mutex
				perSecond := map[int]int{}
				var wg sync.WaitGroup
				var tries atomic.Int64
				for range agents {
					wg.Go(func() {
						retry := backoff{base: pollRetryBase, limit: pollRetryLimit}
						for time.Since(began) < outage {
							tries.Add(1)
							pause(t.Context(), pollGap+retry.next())
						}
						mu.Lock()
						defer mu.Unlock()
						perSecond[int((time.Since(began)-outage)/time.Second)]++
					})
				}
				wg.Wait()
				most := 0
				for _, n := range perSecond {
					most = max(most, n)
				}
				// The last wait before the end was drawn from a ceiling of half
				// the outage at least.
				spread := min(outage/4, pollRetryLimit).Seconds()
				t.Logf("busiest second: %d of %d agents; %d tries each while the cluster was away", most, agents, tries.Load()/agents)
				require.Less(t, float64(most), 3*agents/spread)
			})
		})
	}
}
