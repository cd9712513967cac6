// Command swarmsim simulates a swarm that no machine could hold: the tracker and
// the node's plan are the ones of the product, links and machines are not. It
// prints the makespan against the fluid bound, copies that crossed the WAN, and
// what the trackers have to answer.
//
// It must never be needed to run a mesh.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"redflag/api"
	"redflag/bench/row"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "swarmsim:", err)
		os.Exit(1)
	}
}

// options is what to simulate.
type options struct {
	world
	agents  []int
	json    bool
	against string
}

func parse(args []string) (o options, err error) {
	f := flag.NewFlagSet("swarmsim", flag.ContinueOnError)
	agents := f.String("agents", "10000,100000", "numbers of agents, comma separated")
	mib := f.Int64("mib", 64, "payload size in MiB")
	f.IntVar(&o.Regions, "regions", 20, "regions, each with a node")
	f.StringVar(&o.Links, "links", "wide", "even: all agents alike; mixed: half of them with a quarter of the uplink; wide: from 1/16 to 4 times the rate")
	rate := f.String("rate", "12mbit", "link of an agent, each way, before the mix")
	node := f.String("node-rate", "1gbit", "link of a node towards its region, each way")
	wan := f.String("wan-rate", "200mbit", "link of a node towards other regions, each way")
	f.IntVar(&o.Sites, "sites", 0, "sites of a region; 0 for agents without one")
	f.Float64Var(&o.Churn, "churn", 0.1, "share of agents that go down once, for 10 to 30 s")
	f.DurationVar(&o.Spread, "spread", 0, "agents start within this time; 0 starts all at once, which is the worst")
	f.DurationVar(&o.Latency, "latency", 10*time.Millisecond, "time of a piece on the way, besides what the links take")
	f.Uint64Var(&o.Seed, "seed", 1, "what random choices follow; one seed gives one result")
	f.BoolVar(&o.json, "json", false, "print a JSON object for each case")
	f.StringVar(&o.against, "against", "", "file of what swarmbench measured with links of -rate: simulate the same, and print both")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	o.Size = *mib << 20
	var errs [3]error
	o.Rate, errs[0] = api.ParseRate(*rate)
	o.NodeRate, errs[1] = api.ParseRate(*node)
	o.WANRate, errs[2] = api.ParseRate(*wan)
	if err := errors.Join(errs[:]...); err != nil {
		return o, err
	}
	for s := range strings.SplitSeq(*agents, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < o.Regions || n > 10_000_000 {
			return o, fmt.Errorf("%q is not a number of agents, of %d to ten million", s, o.Regions)
		}
		o.agents = append(o.agents, n)
	}
	switch {
	case o.Regions < 1 || o.Regions > 1000:
		return o, fmt.Errorf("%d regions: want 1 to 1000", o.Regions)
	case *mib < 1 || *mib > 1<<20:
		return o, fmt.Errorf("%d MiB: want 1 MiB to 1 TiB", *mib)
	case o.Churn < 0 || o.Churn > 1 || o.Sites < 0 || o.Spread < 0 || o.Latency < 0:
		return o, errors.New("a share lies between 0 and 1, and nothing is below 0")
	case o.Rate == api.Unlimited || o.NodeRate == api.Unlimited || o.WANRate == api.Unlimited:
		return o, errors.New("a link has a rate")
	}
	return o, nil
}

func run(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.against != "" {
		return compare(ctx, o.against, o.Rate)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	if !o.json {
		fmt.Fprintln(w, "agents\tregions\tMiB\tlinks\tchurn %\tT_min s\tmakespan s\tratio\tof those that stayed\tmedian\tWAN s\tWAN copies\tnode/F\twaste %\tannounces/s, a node\tall\ttracker µs\tplan µs\tcomplete\ttook s\t")
	}
	for _, n := range o.agents {
		of := o.world
		of.Agents = n
		out, err := of.simulate(ctx)
		if err != nil {
			return err
		}
		if err := o.print(w, &of, &out); err != nil {
			return err
		}
		if out.Complete < n {
			return fmt.Errorf("%d of %d agents are complete", out.Complete, n)
		}
		if err := leaveRows(&of, &out); err != nil {
			return err
		}
	}
	return nil
}

func (o *options) print(w *tabwriter.Writer, of *world, out *outcome) error {
	if o.json {
		return json.NewEncoder(os.Stdout).Encode(struct {
			World   *world
			Outcome *outcome
		}{of, out})
	}
	total := out.Bytes.Node + out.Bytes.Site + out.Bytes.Region
	fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%.0f\t%.1f\t%.1f\t%.3f\t%.3f\t%.3f\t%.1f\t%.2f\t%.2f\t%.1f\t%d\t%d\t%.1f\t%.1f\t%d/%d\t%.1f\t\n",
		of.Agents, of.Regions, of.Size>>20, of.Links, of.Churn*100, out.Bound.Seconds(), out.Makespan.Seconds(), out.ratio(),
		float64(out.Stayed)/float64(out.Bound), float64(out.Median)/float64(out.Bound), out.WAN.Seconds(), out.mostCopies(), out.NodeUp,
		100*float64(out.Wasted)/float64(total), out.PeakOfNode, out.Peak, micro(out.Tracker), micro(out.Plan), out.Complete, of.Agents, out.Took.Seconds())
	gib := func(n int64) float64 { return float64(n) / (1 << 30) }
	fmt.Fprintf(w, "bytes, GiB: %.1f from nodes, %.1f from peers of the site, %.1f from peers of the region, %.2f over the WAN, %.2f lost\n",
		gib(out.Bytes.Node), gib(out.Bytes.Site), gib(out.Bytes.Region), gib(out.Bytes.WAN), gib(out.Wasted))
	return w.Flush()
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

// leaveRows leaves the figures of a case for make bench.
func leaveRows(w *world, out *outcome) error {
	return errors.Join(
		row.Add(fmt.Sprintf("makespan / T_min, %d agents, %d regions, slowest region", w.Agents, w.Regions), out.ratio(), "", ""),
		row.Add("the same, without agents that went down", float64(out.Stayed)/float64(out.Bound), "", ""),
		row.Add("WAN copies into the region with the most", out.mostCopies(), "", "1"),
		row.Add("node upload / payload, at most", out.NodeUp, "", ""),
		row.Add("announces in the busiest second of a node", float64(out.PeakOfNode), "", ""),
	)
}
