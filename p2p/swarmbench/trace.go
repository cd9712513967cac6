//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"time"

	"redflag/netlab"
)

// trace prints how far the uplinks of a race are used, second by second: it
// shows whether time goes at the start, on the way or at the end.
type trace struct {
	node   netlab.Link
	agents []netlab.Link
}

func (t *trace) run(f *field, done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	before := make([]int64, len(f.agents)+1)
	for second := 0; ; second++ {
		used := make([]float64, len(before))
		for i, h := range append([]*netlab.Host{f.node}, f.agents...) {
			_, sent, err := h.Counters()
			if err != nil {
				return // the race is over
			}
			up := t.node.Up
			if i > 0 {
				up = t.agents[i-1].Up
			}
			used[i], before[i] = float64(sent-before[i])/up.BytesPerSecond()*100, sent
		}
		if second > 0 {
			agents := slices.Sorted(slices.Values(used[1:]))
			sum := 0.0
			for _, u := range agents {
				sum += u
			}
			fmt.Fprintf(os.Stderr, "%3d s  node %3.0f %%  agents %3.0f %% (least %3.0f, median %3.0f, most %3.0f)\n",
				second, used[0], sum/float64(len(agents)), agents[0], agents[len(agents)/2], agents[len(agents)-1])
		}
		select {
		case <-done:
			return
		case <-ticker.C:
		}
	}
}
