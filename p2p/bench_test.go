package p2p_test

import (
	"testing"
	"time"

	"redflag/p2p/p2ptest"
)

// BenchmarkMakespan measures how far a swarm is from the bound of Kumar and
// Ross, and how often the seed sends the payload. Four agents and a node with
// equal caps share one process.
func BenchmarkMakespan(b *testing.B) {
	caps := p2ptest.Options{Upload: 32_000_000, Download: 64_000_000}
	want := content(b, 32<<20)
	torrent := p2ptest.MakeTorrent(b, want)
	for b.Loop() {
		w := p2ptest.NewWorld(b)
		w.Join(node("node-1", "eu"), caps).Seed(b, torrent, want)
		var agents []*p2ptest.Machine
		for i := range 4 {
			agents = append(agents, w.Join(agent(i), caps))
		}
		start := time.Now()
		var fromNode int64
		for _, got := range fetchAll(b, torrent, agents) {
			fromNode += got.FromNodes
		}
		bound := float64(len(want)) / caps.Upload.BytesPerSecond()
		b.ReportMetric(time.Since(start).Seconds()/bound, "makespan/T_min")
		b.ReportMetric(float64(fromNode)/float64(len(want)), "seed/F")
	}
}
