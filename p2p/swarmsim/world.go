package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"redflag/api"
	"redflag/p2p"
)

// world is what is simulated: regions with a node and agents each. The nodes
// share the payload over the WAN first, as redflag publish waits for; then the
// agents of all regions fetch it, each region for itself.
type world struct {
	Agents   int
	Regions  int
	Size     int64 // bytes
	Links    string
	Rate     api.Rate // of an agent's link, each way, before the mix
	NodeRate api.Rate // of a node's, towards its region
	WANRate  api.Rate // of a node's, towards other regions
	Sites    int      // per region; 0 for agents without one
	Churn    float64
	Spread   time.Duration
	Latency  time.Duration
	Seed     uint64
}

// outcome is what a simulation came to.
type outcome struct {
	Bound, Makespan, Median time.Duration // of the region furthest from its bound
	Stayed                  time.Duration // its makespan, without agents that went down
	WAN                     time.Duration // until the last node had the payload
	Copies                  []float64     // that crossed into each region but the first
	Complete                int           // agents
	NodeUp                  float64       // payloads that a node sent, at most
	Wasted                  int64         // bytes
	Bytes                   classes
	PeakOfNode, Peak        int // announces in the busiest second
	// Tracker and Plan are what one call of the product's own code took.
	Tracker, Plan time.Duration
	Took          time.Duration
}

// classes is how many bytes came from where.
type classes struct{ Node, Site, Region, WAN int64 }

// links returns what the link of the i-th agent of a region carries.
func (w *world) links(i int) (up, down api.Rate, err error) {
	switch w.Links {
	case "even":
		return w.Rate, w.Rate, nil
	case "mixed": // as swarmbench has them
		if i%2 == 1 {
			return w.Rate / 4, w.Rate, nil
		}
		return w.Rate, w.Rate, nil
	case "wide": // offices, homes and the ends of thin lines
		switch i % 10 {
		case 0, 1:
			return 4 * w.Rate, 4 * w.Rate, nil
		case 2:
			return w.Rate / 16, w.Rate / 2, nil
		case 3, 4, 5:
			return w.Rate / 4, 2 * w.Rate, nil
		}
		return w.Rate, w.Rate, nil
	}
	return 0, 0, fmt.Errorf("links %q: want even, mixed or wide", w.Links)
}

func (w *world) config() config {
	length := p2p.PieceLengthFor(w.Size)
	return config{
		pieces: int((w.Size + length - 1) / length), pieceLength: length, length: w.Size, latency: w.Latency,
	}
}

// simulate runs the world.
func (w *world) simulate(ctx context.Context) (out outcome, err error) {
	began := time.Now()
	if w.Regions > 1 {
		w.cross(&out)
	}
	regions := make([]*region, w.Regions)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range regions {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			r, err := w.region(i)
			regions[i] = r
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return out, err
	}
	var announces []int
	asked, planned := 0, 0
	for _, r := range regions {
		out.add(r, w.Size)
		out.Tracker += r.swarm.trackerTook
		out.Plan += r.swarm.planTook
		planned += r.swarm.planned
		for second, n := range r.swarm.announces {
			if second == len(announces) {
				announces = append(announces, 0)
			}
			announces[second] += n
			asked += n
		}
	}
	out.Tracker /= time.Duration(asked)
	out.Plan /= time.Duration(planned)
	out.Peak = slices.Max(announces)
	out.Took = time.Since(began)
	return out, nil
}

// cross brings the payload to all nodes.
func (w *world) cross(out *outcome) {
	s := newSwarm(w.config(), w.Seed)
	rate := w.WANRate.BytesPerSecond()
	for range w.Regions {
		s.add(rate, rate, "")
	}
	out.WAN = s.run()
	for i := range s.members {
		if i > 0 {
			out.Copies = append(out.Copies, float64(s.got[i])/float64(w.Size))
		}
	}
	out.Bytes.WAN = s.fromNode + s.fromPeers
}

// region is one region that has come to its end.
type region struct {
	swarm    *swarm
	agents   int
	bound    time.Duration
	makespan time.Duration
}

func (w *world) region(n int) (*region, error) {
	cfg := w.config()
	cfg.planned, cfg.spread, cfg.churn = true, w.Spread, w.Churn
	r := &region{agents: w.Agents / w.Regions}
	if n < w.Agents%w.Regions {
		r.agents++
	}
	node := w.NodeRate.BytesPerSecond()
	slowest, uplinks := node, node
	type link struct{ up, down float64 }
	agents := make([]link, r.agents)
	for i := range agents {
		up, down, err := w.links(i)
		if err != nil {
			return nil, err
		}
		agents[i] = link{up.BytesPerSecond(), down.BytesPerSecond()}
		slowest, uplinks = min(slowest, agents[i].down), uplinks+agents[i].up
	}
	// The fluid bound (Kumar and Ross, 2006): the node sends each byte once, the
	// slowest agent receives it, and all copies leave through some uplink.
	f := float64(w.Size)
	r.bound = time.Duration(float64(time.Second) * max(f/node, f/slowest, float64(r.agents)*f/uplinks))
	cfg.within = r.bound
	r.swarm = newSwarm(cfg, w.Seed+uint64(n)+1)
	r.swarm.add(node, node, "")
	for i, l := range agents {
		site := ""
		if w.Sites > 0 {
			site = fmt.Sprintf("site-%d", i%w.Sites)
		}
		r.swarm.add(l.up, l.down, site)
	}
	r.makespan = r.swarm.run()
	return r, nil
}

// add takes in a region.
func (o *outcome) add(r *region, size int64) {
	s := r.swarm
	if o.Bound == 0 || float64(r.makespan)/float64(r.bound) > o.ratio() {
		var times []int64
		stayed := int64(0)
		for _, m := range s.members[1:] {
			times = append(times, m.doneAt)
			if m.life == 0 {
				stayed = max(stayed, m.doneAt)
			}
		}
		slices.Sort(times)
		o.Stayed = time.Duration(stayed)
		o.Bound, o.Makespan, o.Median = r.bound, r.makespan, time.Duration(times[len(times)/2])
	}
	o.Complete += r.agents - s.missing
	o.NodeUp = max(o.NodeUp, float64(s.sent)/float64(size))
	o.Wasted += s.wasted
	o.Bytes.Node += s.fromNode
	o.Bytes.Site += s.fromSite
	o.Bytes.Region += s.fromPeers
	o.PeakOfNode = max(o.PeakOfNode, slices.Max(s.announces))
}

func (o *outcome) ratio() float64 { return float64(o.Makespan) / float64(o.Bound) }

// mostCopies is how many payloads crossed into the region with the most.
func (o *outcome) mostCopies() float64 {
	if len(o.Copies) == 0 {
		return 0
	}
	return slices.Max(o.Copies)
}
